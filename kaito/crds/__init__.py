"""The CustomResourceDefinitions of Workspace and Machine, generated from the models of `kaito.api`."""
