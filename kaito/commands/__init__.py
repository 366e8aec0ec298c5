"""The verbs of the `kaito` command, a module for each group; `kaito.cli` imports one when it is called."""
