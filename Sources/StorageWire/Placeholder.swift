// StorageWire
