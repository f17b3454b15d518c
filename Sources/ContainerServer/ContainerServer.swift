package import DeviceLog
package import Logging
package import NIOPosix
package import StorageWire
import Synchronization

/// Serves the listings on the devices of this node: containers, whose rows are objects, and accounts, whose rows are containers.
package final class ContainerServer: StorageHandler {
    private let open: Mutex<[UInt16: DeviceLog]>
    /// The open devices by their id in the rings.
    package var devices: [UInt16: DeviceLog] { open.withLock { $0 } }
    let workers: NIOThreadPool
    let sinks: EventLoopSinks
    let logger: Logger
    /// Told of every container whose rows or head changed.
    package let changes = ChangedContainers()

    /// Set while one runs.
    let replicator = Mutex<TableReplicator?>(nil)

    /// A page longer than this is put together on a worker: the event loop has others to serve.
    static let rowsOnEventLoop = 1_000

    package init(
        devices: [UInt16: DeviceLog], workers: NIOThreadPool, sinks: EventLoopSinks, logger: Logger
    ) {
        open = Mutex(devices)
        self.workers = workers
        self.sinks = sinks
        self.logger = logger
    }

    /// Serves other devices from now on.
    package func use(devices: [UInt16: DeviceLog]) { open.withLock { $0 = devices } }

    package func handle(_ request: StorageRequest, call: ServerCall) {
        switch request {
        case .putRow(let put): putRow(put, call: call)
        case .updateTable(let update): updateTable(update, call: call)
        case .deleteTable(let delete): deleteTable(delete, call: call)
        case .deleteAccount(let delete): deleteAccount(delete, call: call)
        case .readTable(let table): if !isBehind(table, call: call) { readTable(table, call: call) }
        case .listTable(let list): if !isBehind(list.table, call: call) { listTable(list, call: call) }
        case .replication(.head(let table)): readTable(table, call: call)
        case .replication(.list(let list)): listTable(list, call: call)
        case .replication(.tables(let query)): tables(query, call: call)
        case .replication(.rows(let query)): rows(query, call: call)
        case .replication(.fetchTables(let fetch)): fetchTables(fetch, call: call)
        case .putObject, .openUpload, .chunk, .commitUpload, .readObject, .readBody, .deleteObject, .updateObject,
            .status, .replication, .workers, .setWorker, .verifyObject, .prepareMap, .acceptMap, .learnMap, .readMap,
            .changeMap, .program, .users:
            call.reply(.failed(StorageFailure(.malformed, "not for a container server")))
        }
    }

    package func ended(_ call: ServerCall) {}

    func device(_ address: TableAddress, call: ServerCall) -> DeviceLog? {
        guard let log = devices[address.device] else {
            call.reply(.failed(StorageFailure(.noDevice, "device \(address.device) is not on this node")))
            return nil
        }
        return log
    }

    /// Answers that the device has no say yet where it is behind: rows that it has not got must not count as absent.
    private func isBehind(_ table: TableAddress, call: ServerCall) -> Bool {
        guard let log = devices[table.device], log.standing(table.kind.space, table.hash) != .full else { return false }
        call.reply(.failed(StorageFailure(.busy, "the device is behind in this partition, or it is not its own")))
        return true
    }

    func readTable(_ address: TableAddress, call: ServerCall) {
        guard let log = device(address, call: call) else { return }
        do throws(DeviceLogError) {
            call.reply(.table(try Self.state(of: address, in: log)))
        } catch {
            call.reply(.failed(Self.failure(error)))
        }
    }

    static func state(of address: TableAddress, in log: DeviceLog) throws(DeviceLogError) -> TableReply {
        let (info, stats) = try log.tableInfo(address.key)
        return TableReply(
            head: info,
            sums: stats.buckets.map {
                TableSum(policy: $0.bucket, rows: $0.totals.rows, bytes: $0.totals.bytes, count: $0.totals.count)
            },
            digest: stats.digest, lastChange: Timestamp(rawValue: stats.lastChange))
    }

    /// What a peer is told about an error of a device.
    static func failure(_ error: DeviceLogError) -> StorageFailure {
        switch error {
        case .wouldBlock, .busy: StorageFailure(.busy, "\(error)")
        case .corrupt, .quarantined: StorageFailure(.corrupt, "\(error)")
        case .full: StorageFailure(.full, "the device is full")
        case .tooLarge: StorageFailure(.malformed, "larger than the format allows")
        case .io: StorageFailure(.io, "\(error)")
        case .refused, .inUse, .closed: StorageFailure(.closing, "\(error)")
        }
    }
}

extension StorageWire.TableKind {
    var space: PartitionSpace { self == .container ? .containers : .accounts }
}

extension TableAddress {
    var key: TableKey {
        TableKey(kind: kind == .container ? .container : .account, hash: hash)
    }
}
