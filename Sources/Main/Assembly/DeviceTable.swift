import Logging
import NIOCore
import NIOPosix
import Ring
import StorageWire

/// All devices of the rings, by id.
struct DeviceTable {
    private(set) var devices: [Int: RingDevice] = [:]

    init(_ rings: ClusterRings) {
        for ring in [rings.account, rings.container, rings.object] {
            for device in ring.devices.compactMap({ $0 }) { devices[device.id] = device }
        }
    }

    /// Nodes of other processes, one for each address.
    struct Connected {
        var byDevice: [UInt16: any StorageNode] = [:]
        var remote: [RemoteNode] = []

        func close() {
            for node in remote { try? node.close().wait() }
        }
    }

    /// - Parameter except: the address that this process itself serves.
    func connect(
        except local: (ip: String, port: Int, node: LocalNode)?, group: any EventLoopGroup,
        credentials: WireCredentials, encryption: LinkEncryption, logger: Logger
    ) -> Connected {
        var connected = Connected()
        var byAddress: [String: any StorageNode] = [:]
        if let local { byAddress["\(local.ip):\(local.port)"] = local.node }
        for device in devices.values {
            let address = "\(device.ip):\(device.port)"
            let node: any StorageNode
            if let known = byAddress[address] {
                node = known
            } else {
                let remote = RemoteNode(
                    host: device.ip, port: device.port, group: group, credentials: credentials,
                    encryption: encryption, logger: logger)
                connected.remote.append(remote)
                byAddress[address] = remote
                node = remote
            }
            connected.byDevice[UInt16(truncatingIfNeeded: device.id)] = node
        }
        return connected
    }
}
