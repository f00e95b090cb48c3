"""The ways out of a sandbox beside the gateway: package hosts through a proxy of ours, and single named ports."""
