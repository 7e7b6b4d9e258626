// The cards follow what changes.
import {live, refresh, seldom} from '/assets/live.js'

const cards = document.querySelector('#cards'), again = seldom(() => refresh('#cards'), 1500)
live([], cards.dataset.cursor, again, again)
