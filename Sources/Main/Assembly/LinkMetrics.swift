import Daemon
import StorageWire

/// What is measured of the connections that other nodes have made.
enum LinkMetrics {
    static func register(_ server: StorageServer, on registry: MetricsRegistry) throws {
        let name = "ringfort_storage_connections"
        let help = "Connections of other nodes to this one"
        try registry.gauge(name, help, labels: [("encrypted", "yes")]) { Double(server.connections.encrypted) }
        try registry.gauge(name, help, labels: [("encrypted", "no")]) {
            let connections = server.connections
            return Double(connections.all - connections.encrypted)
        }
    }
}
