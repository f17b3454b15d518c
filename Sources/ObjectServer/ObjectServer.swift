package import DeviceLog
package import Logging
import NIOCore
package import NIOPosix
package import StorageWire
import Synchronization

/// Serves the objects on the devices of this node. Every success that it answers is durable.
package final class ObjectServer: StorageHandler {
    private let open: Mutex<[UInt16: DeviceLog]>
    /// The open devices by their id in the rings.
    var devices: [UInt16: DeviceLog] { open.withLock { $0 } }
    let nodes: any NodeDirectory
    let workers: NIOThreadPool
    let sinks: EventLoopSinks
    let logger: Logger
    /// Set while a replicator runs.
    let fetchers = Mutex<FetchDesk?>(nil)
    let verifications = Atomic<Int>(0)
    /// Reads and writes of clients since the start.
    let clientRequests = Atomic<UInt64>(0)

    /// How long a container replica has to make a row durable before the update is kept for later.
    static let rowTimeout = TimeAmount.seconds(3)

    /// - Parameters:
    ///   - devices: the open devices by their id in the rings.
    ///   - nodes: where the container replicas are.
    ///   - workers: threads for what may block: cold reads and the bytes of large bodies.
    package init(
        devices: [UInt16: DeviceLog], nodes: any NodeDirectory, workers: NIOThreadPool, sinks: EventLoopSinks,
        logger: Logger
    ) {
        open = Mutex(devices)
        self.nodes = nodes
        self.workers = workers
        self.sinks = sinks
        self.logger = logger
    }

    /// Serves other devices from now on.
    package func use(devices: [UInt16: DeviceLog]) { open.withLock { $0 = devices } }

    package func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .putObject(let put): self.put(put, call: call)
        case .openUpload(let open): openUpload(open, call: call)
        case .chunk(let chunk): upload(of: call)?.append(chunk.bytes)
        case .commitUpload(let commit): upload(of: call)?.commit(commit)
        case .readObject(let read): self.read(read, call: call)
        case .readBody(let read): readBody(read, call: call)
        case .deleteObject(let delete): self.delete(delete, call: call)
        case .updateObject(let update): self.update(update, call: call)
        case .replication(.digests(let query)): digests(query, call: call)
        case .replication(.versions(let query)): versions(query, call: call)
        case .replication(.range(let query)): versions(query, call: call)
        case .replication(.objects(let query)): objects(query, call: call)
        case .replication(.passes): passes(call)
        case .replication(.reclaim(let reclaim)): self.reclaim(reclaim, call: call)
        case .replication(.fetch(let fetch)): self.fetch(fetch, call: call)
        case .verifyObject(let address): verify(address, call: call)
        case .putRow, .updateTable, .deleteTable, .deleteAccount, .readTable, .listTable, .status, .workers, .setWorker,
            .replication(.tables), .prepareMap, .acceptMap, .learnMap, .readMap, .changeMap,
            .replication(.rows), .replication(.fetchTables), .replication(.head), .replication(.list), .program,
            .users:
            call.reply(.failed(StorageFailure(.malformed, "not for an object server")))
        }
    }

    package func ended(_ call: ServerCall) {
        (call.session as? Upload)?.abandon()
        call.session = nil
    }

    func device(_ id: UInt16, call: ServerCall) -> DeviceLog? {
        guard let log = devices[id] else {
            call.reply(.failed(StorageFailure(.noDevice, "device \(id) is not on this node")))
            return nil
        }
        return log
    }

    private func upload(of call: ServerCall) -> Upload? {
        guard let upload = call.session as? Upload else {
            call.reply(.failed(StorageFailure(.malformed, "no upload is open on this call")))
            return nil
        }
        return upload
    }
}

extension StorageFailure {
    /// What a peer is told about an error of a device.
    package init(_ error: DeviceLogError) {
        switch error {
        case .wouldBlock: self.init(.busy, "the record is not in memory")
        case .corrupt, .quarantined: self.init(.corrupt, "\(error)")
        case .full: self.init(.full, "the device is full")
        case .busy: self.init(.busy, "the commit queue is full")
        case .tooLarge: self.init(.malformed, "larger than the format allows")
        case .io: self.init(.io, "\(error)")
        case .refused, .inUse, .closed: self.init(.closing, "\(error)")
        }
    }
}
