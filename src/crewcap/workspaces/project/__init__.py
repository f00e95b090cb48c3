"""What a project needs inside beside its own tree: toolchains, services, files that git ignores, prepared trees."""
