"""MQTT on the wire, shared by the plugins that speak it."""
