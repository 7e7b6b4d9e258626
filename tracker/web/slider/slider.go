// Package slider shows two pictures under a border that is dragged: what reports, which are one file, and the tracker's pages share.
package slider

import _ "embed" // the parts

// Style is the style sheet.
//
//go:embed slider.css
var Style string

// Elements are the elements, in HTML; they are within one that the script gets.
//
//go:embed slider.html
var Elements string

// Script has the function sliding(box), which shows pictures under the slider within box.
//
//go:embed slider.js
var Script string

// Module is the script as an ES module.
var Module = Script + "export {sliding}\n"
