"""argv in, words out: the only folder that imports click, prints, or picks an exit code. One file per command."""
