// The queue follows what changes.
import {live, refresh, seldom} from '/assets/live.js'

const again = seldom(() => refresh('#queue'), 1000)
live([], document.querySelector('#queue').dataset.cursor, again, again)
