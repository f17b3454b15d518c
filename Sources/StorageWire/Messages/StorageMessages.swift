package import NIOCore

/// Everything that one node asks of another's devices.
package enum StorageRequest: Sendable {
    case putObject(PutObject)
    case openUpload(OpenUpload)
    /// Only on a call that `openUpload` began.
    case chunk(UploadChunk)
    /// Only on a call that `openUpload` began.
    case commitUpload(CommitUpload)
    case readObject(ReadObject)
    /// Only on a call that `readObject` began and that was answered with an object without its body.
    case readBody(ReadBody)
    case deleteObject(DeleteObject)
    case updateObject(UpdateObject)
    case putRow(PutRow)
    case updateTable(UpdateTable)
    case deleteTable(DeleteTable)
    case deleteAccount(DeleteAccount)
    case readTable(TableAddress)
    case listTable(ListTable)
    /// What the devices of the node hold and how they are.
    case status
    /// From one replicator to another.
    case replication(ReplicationRequest)
    /// The background workers of the node.
    case workers
    case setWorker(SetWorker)
    /// Reads a copy wholly from the disk and checks it, without sending it. A damaged one is put into quarantine.
    case verifyObject(ObjectAddress)
    case prepareMap(PrepareMap)
    case acceptMap(AcceptMap)
    /// Tells a node of a newer map.
    case learnMap(DecidedMap)
    /// Asks for the map if it is newer than that version.
    case readMap(newerThan: UInt64)
    /// Asks a member to have the map changed; the change is JSON (`ClusterMap.MapChange`).
    case changeMap(ByteBuffer)
    /// Which program the node runs.
    case program
    /// Users of which the node knows something else than who asks.
    case users(UserQuery)
}

/// The answers.
package enum StorageReply: Sendable {
    /// Durable. `rowStored` tells whether the container replica that was named has its row durable too.
    case stored(rowStored: Bool)
    /// A chunk of an upload was taken; the next may come.
    case accepted(bytes: Int)
    /// Something newer is there; write again above it.
    case superseded(Timestamp)
    /// `ifAbsent`, but a live object of this time is there.
    case conditionFailed(Timestamp)
    /// The update's base is not what is there; this is.
    case baseMismatch(Timestamp)
    /// Nothing is there, and there never was.
    case absent
    /// Deleted at that time.
    case tombstone(Timestamp)
    case object(ObjectReply)
    case body(ByteBuffer)
    /// The table has rows and is not deleted.
    case notEmpty
    /// A container exists under another storage policy.
    case policyConflict(UInt8)
    case table(TableReply)
    /// A table was made or changed; `created` tells whether it was not live before.
    case tableStored(created: Bool)
    case listing(ListingReply)
    case status(NodeStatus)
    case replication(ReplicationReply)
    case workers([WorkerReport])
    /// The copy is sound. Without its body.
    case verified(ObjectReply)
    case mapPromised(MapPromise)
    case mapAccepted
    /// A newer attempt has a promise.
    case mapRefused(MapBallot)
    /// The node's own map is not newer than the one that was asked about or told.
    case mapStanding(MapStanding)
    /// The node's map is newer than the one that was asked about or told.
    case map(MapStanding, ByteBuffer)
    /// What a change did, as JSON.
    case mapChanged(ByteBuffer)
    case program(ProgramReport)
    case users(UserPage)
    case failed(StorageFailure)
}

/// Why a node could not do what it was asked.
package struct StorageFailure: Error, Equatable, Sendable {
    package enum Reason: UInt8, Sendable, CaseIterable {
        /// The node has no such device, or its disk is gone.
        case noDevice = 1
        /// Too much is queued: try again later.
        case busy = 2
        /// The device is full to its reserve.
        case full = 3
        /// The disk answered with an error; the device takes no more writes.
        case io = 4
        /// The copy does not match its checksum.
        case corrupt = 5
        /// The deadline passed before the work was begun or done.
        case deadline = 6
        /// The message makes no sense at this point of the call.
        case malformed = 7
        /// No connection to the node, or it broke.
        case unreachable = 8
        /// The node is shutting down.
        case closing = 9
        /// The node knows no such message: it runs an older program. To a peer of version 2 the code is unknown, which makes the call `malformed` there.
        case unsupported = 10
        /// What was asked cannot be done as the cluster is; the detail says why, for who asked.
        case refused = 32
    }

    package var reason: Reason
    /// For the log, never for a client.
    package var detail: String

    package init(_ reason: Reason, _ detail: String = "") {
        self.reason = reason
        self.detail = detail
    }
}

/// One device of a node as operators see it.
package struct DeviceStatus: Equatable, Sendable {
    package var device: UInt16
    package var name: String
    /// "ok", "read-only", "full", or "behind" until it has everything of the partitions that it lately belongs to.
    package var state: String
    package var totalBytes: Int64
    package var freeBytes: Int64
    package var objects: Int64
    package var tombstones: Int64
    package var rows: Int64
    package var liveBytes: Int64
    package var garbageBytes: Int64
    package var queueDepth: Int64
    package var pendingUpdates: Int64
    package var quarantined: Int64
    /// Group commits and the records in them since the start.
    package var commits: Int64
    package var committedRecords: Int64
    /// Partitions of all rings in which the device is behind.
    package var behindPartitions: Int64
    /// Objects, tombstones too, that do not belong on the device and that not all their primaries are known to have.
    package var misplacedObjects: Int64
    /// Their bytes on the disk; an estimate where many of them are large.
    package var misplacedBytes: Int64
    /// Containers and accounts that do not belong on the device and that not all their primaries are known to have.
    package var misplacedTables: Int64
    /// The version of the rings for which the last passes of both replicators have left nothing to do for the device; -1: something was left, or no
    /// pass is over yet, or an operator holds a replicator.
    package var settledVersion: Int64

    package init(
        device: UInt16, name: String, state: String, totalBytes: Int64, freeBytes: Int64, objects: Int64,
        tombstones: Int64, rows: Int64, liveBytes: Int64, garbageBytes: Int64, queueDepth: Int64,
        pendingUpdates: Int64, quarantined: Int64, commits: Int64, committedRecords: Int64, behindPartitions: Int64,
        misplacedObjects: Int64, misplacedBytes: Int64, misplacedTables: Int64, settledVersion: Int64
    ) {
        self.device = device
        self.name = name
        self.state = state
        self.totalBytes = totalBytes
        self.freeBytes = freeBytes
        self.objects = objects
        self.tombstones = tombstones
        self.rows = rows
        self.liveBytes = liveBytes
        self.garbageBytes = garbageBytes
        self.queueDepth = queueDepth
        self.pendingUpdates = pendingUpdates
        self.quarantined = quarantined
        self.commits = commits
        self.committedRecords = committedRecords
        self.behindPartitions = behindPartitions
        self.misplacedObjects = misplacedObjects
        self.misplacedBytes = misplacedBytes
        self.misplacedTables = misplacedTables
        self.settledVersion = settledVersion
    }
}

/// All devices of a node.
package struct NodeStatus: Equatable, Sendable {
    /// The version of the oldest rings with which anything on the node still works: that of its cluster map, when it has followed that and no
    /// operation of its proxy is older. 0 where rings are files.
    package var ringsVersion: UInt64
    package var devices: [DeviceStatus]

    package init(ringsVersion: UInt64, devices: [DeviceStatus]) {
        self.ringsVersion = ringsVersion
        self.devices = devices
    }
}
