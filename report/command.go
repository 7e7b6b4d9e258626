package report

import (
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	"hrlab/tracker"
)

// plain are the settings of hrlab fit without flags, as runs record them.
var plain = map[string]string{
	"style_gain": "1", "gram": "mean", "layer_weights": "[0.1,0.2,0.4,0.8,1.6]", "learning_rate": "0.005", "weight_decay": "0", "style_size": "-1", "square": "false", "seed": "0",
}

// plainMap are those of hrlab map that differ from them, and its own.
var plainMap = map[string]string{"learning_rate": "0.002", "map_from": "0.8", "map_to": "8000", "map_knots": "5"}

// flags are settings that hrlab fit and hrlab map have flags for, in the order in which a command line has them.
var flags = []string{"style_gain", "gram", "square", "style_size", "layer_weights", "learning_rate", "weight_decay", "seed", "init", "map_from", "map_to", "map_knots"}

// Command is the command line that fits the pair with the suggested settings, at hrlab fit's own size and number of steps:
// settings found at a small size hold at a large one. With Gram sums they do not, so there it has the size too. It is empty
// where nothing is suggested, and where the pictures are not in files. Names of files are as the run has them, so they count
// from the folder that it was made in.
func (p *Pair) Command() string {
	if p.Suggested == nil {
		return ""
	}
	if p.Suggested.Param("gram") == "sum" {
		return p.Suggested.command("size")
	}
	return p.Suggested.command()
}

// Command is the command line that makes the run again. It is empty where the pictures are not in files, whose names are as the
// run has them.
func (r *Run) Command() string {
	command := r.command("size", "steps")
	if name := r.Param("map"); name != "" && command != "" {
		ratio := r.Params["content_weight"].Number / r.Params["style_weight"].Number
		command += " --init " + Quote(strings.TrimPrefix(name, "run ")) + " --ratio " + strconv.FormatFloat(ratio, 'g', -1, 64)
	}
	return command
}

// FullSize is the command line that gives the suggested run at full size: see [Run.FullSize]. It is empty where nothing is suggested.
func (p *Pair) FullSize() string {
	if p.Suggested == nil {
		return ""
	}
	return p.Suggested.FullSize()
}

// FullSize is the command line that applies the run's generator to its content picture, at the picture's own size. It is empty where
// the run is not finished or has a weight map, whose ratio is to be chosen, and where the picture is not in a file, whose name is as
// the run has it.
func (r *Run) FullSize() string {
	content := r.Param("content")
	if content == "" || content == "-" || r.Status != tracker.Finished || IsMap(r.Info) {
		return ""
	}
	if strings.HasPrefix(content, "-") { // it would be taken for a flag
		content = "./" + content
	}
	return "hrlab apply --run " + strconv.FormatInt(r.ID, 10) + " " + Quote(content) + " --out=" + Quote(r.FullSizeName())
}

// FullSizeName is the name of the file that [Run.FullSize] makes.
func (r *Run) FullSizeName() string {
	content := r.Param("content")
	return strings.TrimSuffix(filepath.Base(content), filepath.Ext(content)) + "_run" + strconv.FormatInt(r.ID, 10) + ".png"
}

// command is the command line of a fit with the run's settings, those named by more too.
func (r *Run) command(more ...string) string {
	content, style := r.Param("content"), r.Param("style")
	if content == "" || content == "-" || style == "" || style == "-" {
		return ""
	}
	verb := "hrlab fit"
	usual := maps.Clone(plain)
	switch {
	case IsMap(r.Info):
		verb = "hrlab map"
		maps.Copy(usual, plainMap)
	case r.Param("map") != "":
		usual["learning_rate"] = "0.001" // a fit that begins from nothing has another
	}
	words := []string{verb}
	add := func(name, value string) {
		name = "--" + strings.ReplaceAll(name, "_", "-")
		switch {
		case value == "true":
			words = append(words, name)
		case strings.HasPrefix(value, "-"): // it would be taken for a flag
			words = append(words, name+"="+Quote(value))
		default:
			words = append(words, name, Quote(value))
		}
	}
	add("content", content)
	add("style", style)
	if verb == "hrlab fit" {
		add("content_weight", r.Param("content_weight"))
		add("style_weight", r.Param("style_weight"))
	}
	for _, name := range flags {
		if value := r.Param(name); value != "" && value != usual[name] {
			add(strings.TrimPrefix(name, "map_"), strings.Trim(value, "[]"))
		}
	}
	for _, name := range more {
		add(name, r.Param(name))
	}
	if strings.HasPrefix(r.Param("vgg"), "random") {
		add("vgg", "random")
	}
	return strings.Join(words, " ")
}

// Quote quotes a word for a POSIX shell where it needs to be.
func Quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
