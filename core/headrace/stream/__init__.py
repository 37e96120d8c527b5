"""The stream layer: Faust apps on an embedded log or on Kafka. The only importer of faust."""
