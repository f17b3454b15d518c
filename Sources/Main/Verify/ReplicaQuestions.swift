import Glibc
import NIOCore
import Ring
import StorageWire

/// Asks all replicas of a name at once, each device at its node.
final class ReplicaQuestions {
    /// A large body is read at the speed of its disk, and beside the clients.
    private static let patience = TimeAmount.minutes(15)
    private static let busyTries = 200
    private static let busyMicroseconds: UInt32 = 50_000

    let identity: ClusterIdentity
    private let directory: ClusterDirectory
    private let client: NodeClient

    init(_ directory: ClusterDirectory) throws {
        self.directory = directory
        identity = try directory.open()
        client = try NodeClient(identity: identity)
    }

    func close() { client.close() }

    func ring(_ name: String) throws -> Ring { try directory.ring(name) }

    /// The devices of a name's copies.
    func devices(_ ring: Ring, _ hash: PathHash) -> [RingDevice] {
        ring.primaries(of: hash).compactMap { ring.devices[$0] }
    }

    /// One reply for each device, in their order; who is busy is asked again.
    func ask(_ devices: [RingDevice], _ request: (_ device: UInt16) -> StorageRequest) throws -> [StorageReply] {
        let pending = devices.map { begin($0, request) }
        return try zip(devices, pending).map { device, future in
            var reply = try future.wait()
            var tries = 0
            while case .failed(let failure) = reply, failure.reason == .busy, tries < Self.busyTries {
                usleep(Self.busyMicroseconds)
                reply = try begin(device, request).wait()
                tries += 1
            }
            return reply
        }
    }

    private func begin(
        _ device: RingDevice, _ request: (_ device: UInt16) -> StorageRequest
    ) -> EventLoopFuture<StorageReply> {
        client.begin(
            request(UInt16(truncatingIfNeeded: device.id)), host: device.ip, port: device.port, timeout: Self.patience)
    }
}
