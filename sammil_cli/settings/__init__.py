"""What a setting of params.yaml is, and the settings of stages that a project has to ask for."""
