import NIOCore
import Ring

@testable import DeviceLog

/// An object as the model sees it.
struct ModelObject: Hashable {
    enum Kind: Hashable { case absent, live, tombstone }

    var kind = Kind.absent
    var timestamp: UInt64 = 0
    var dataTimestamp: UInt64 = 0
    var metadata = ""
    var body = ""
}

/// A row as the model sees it.
struct ModelRow: Hashable {
    var timestamp: UInt64 = 0
    var deleted = false
    var bytes: Int64 = 0
    var value = ""
}

/// What a device should hold: per name every state that is possible, because a write without an answer may have
/// happened or not.
struct Model {
    enum Change: Hashable {
        case put(UInt64, at: UInt64, metadata: String, body: String)
        case delete(UInt64, at: UInt64)
        case update(UInt64, at: UInt64, base: UInt64, metadata: String)
        case row(UInt64, name: String, at: UInt64, deleted: Bool, bytes: Int64, value: String)
        case info(UInt64, String)
    }

    var objects: [UInt64: Set<ModelObject>] = [:]
    var rows: [UInt64: [String: Set<ModelRow?>]] = [:]
    var infos: [UInt64: Set<String?>] = [:]

    /// A write was answered; `true` when it should have been stored.
    mutating func acknowledge(_ change: Change) {
        apply(change, mayBeLost: false)
    }

    /// A write was not answered.
    mutating func attempt(_ change: Change) {
        apply(change, mayBeLost: true)
    }

    private mutating func apply(_ change: Change, mayBeLost: Bool) {
        switch change {
        case .put(let key, _, _, _), .delete(let key, _), .update(let key, _, _, _):
            let old = objects[key] ?? [ModelObject()]
            let new = Set(old.map { Self.apply(change, to: $0) })
            objects[key] = mayBeLost ? old.union(new) : new
        case .row(let table, let name, let timestamp, let deleted, let bytes, let value):
            let old = rows[table]?[name] ?? [nil]
            let row = ModelRow(timestamp: timestamp, deleted: deleted, bytes: bytes, value: value)
            let new = Set(old.map { ($0?.timestamp ?? 0) >= timestamp ? $0 : row })
            rows[table, default: [:]][name] = mayBeLost ? old.union(new) : new
        case .info(let table, let info):
            infos[table] = mayBeLost ? (infos[table] ?? [nil]).union([info]) : [info]
        }
    }

    private static func apply(_ change: Change, to old: ModelObject) -> ModelObject {
        switch change {
        case .put(_, let timestamp, let metadata, let body):
            guard timestamp > old.timestamp else { return old }
            return ModelObject(
                kind: .live, timestamp: timestamp, dataTimestamp: timestamp, metadata: metadata, body: body)
        case .delete(_, let timestamp):
            guard timestamp >= old.timestamp else { return old }
            return ModelObject(kind: .tombstone, timestamp: timestamp)
        case .update(_, let timestamp, let base, let metadata):
            guard old.kind == .live, old.dataTimestamp == base, timestamp > old.timestamp else { return old }
            var new = old
            new.timestamp = timestamp
            new.metadata = metadata
            return new
        case .row, .info:
            return old
        }
    }
}

extension Model.Change {
    var write: Write {
        switch self {
        case .put(let number, let timestamp, let metadata, let body):
            .put(key(number), timestamp: timestamp, metadata: bytes(metadata), body: .inline(bytes(body)))
        case .delete(let number, let timestamp):
            .delete(key(number), timestamp: timestamp)
        case .update(let number, let timestamp, let base, let metadata):
            .updateMetadata(key(number), timestamp: timestamp, baseDataTimestamp: base, metadata: bytes(metadata))
        case .row(let number, let name, let timestamp, let deleted, let size, let value):
            .row(
                table(number),
                Row(name: Array(name.utf8), timestamp: timestamp, deleted: deleted, bytes: size, value: bytes(value)))
        case .info(let number, let info):
            .tableInfo(table(number), transform: { _, _ in .replace(bytes(info)) })
        }
    }
}

/// Compares a device with the model and narrows the model down to what it saw.
struct ModelCheck {
    var failures: [String] = []

    mutating func run(_ log: DeviceLog, _ model: inout Model) throws {
        try checkObjects(log, &model)
        try checkRows(log, &model)
        for (number, expected) in model.infos {
            let info = try log.tableInfo(table(number)).info.map { String(buffer: $0) }
            if !expected.contains(info) { failures.append("info \(number) is \(info ?? "nil"), not \(expected)") }
            model.infos[number] = [info]
        }
        let statistics = log.statistics()
        if statistics.unidentifiedLosses != 0 { failures.append("losses: \(statistics.unidentifiedLosses)") }
        if statistics.quarantined != 0 { failures.append("quarantined: \(statistics.quarantined)") }
    }

    private mutating func checkObjects(_ log: DeviceLog, _ model: inout Model) throws {
        var live: Int64 = 0
        var digest: UInt64 = 0
        for (number, expected) in model.objects {
            let version = try log.version(of: key(number))
            digest ^= version.kind == .absent ? 0 : Digests.digest(hash(number), version)
            var found = ModelObject()
            switch try log.object(key(number), mayBlock: true) {
            case .absent: break
            case .tombstone(let timestamp): found = ModelObject(kind: .tombstone, timestamp: timestamp)
            case .live(let object):
                live += 1
                var body = "?"
                if case .inline(let bytes) = object.body { body = String(buffer: bytes) }
                found = ModelObject(
                    kind: .live, timestamp: object.timestamp, dataTimestamp: object.dataTimestamp,
                    metadata: String(buffer: object.metadata), body: body)
            }
            if !expected.contains(found) { failures.append("object \(number) is \(found), not \(expected)") }
            model.objects[number] = [found]
        }
        if log.statistics().objects != live { failures.append("\(log.statistics().objects) objects, not \(live)") }
        if log.digest(policy: 0, buckets: 0..<65536) != digest { failures.append("the digest is wrong") }
    }

    private mutating func checkRows(_ log: DeviceLog, _ model: inout Model) throws {
        for (number, rows) in model.rows {
            var listed: [String] = []
            var size: Int64 = 0
            for (name, expected) in rows {
                let found = try log.row(table(number), name: Array(name.utf8)).map {
                    ModelRow(
                        timestamp: $0.timestamp, deleted: $0.deleted, bytes: $0.bytes, value: String(buffer: $0.value))
                }
                if !expected.contains(found) {
                    failures.append("row \(name) of \(number) is \(String(describing: found)), not \(expected)")
                }
                model.rows[number]?[name] = [found]
                if let found, !found.deleted {
                    listed.append(name)
                    size += found.bytes
                }
            }
            listed.sort { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
            let forward = try log.names(table(number))
            let backward = try log.names(table(number), reverse: true)
            if forward != listed { failures.append("listing \(forward), not \(listed)") }
            if backward != listed.reversed() { failures.append("backward listing \(backward)") }
            let stats = try log.tableInfo(table(number)).stats.total
            if stats.rows != listed.count || stats.bytes != size { failures.append("stats \(stats) of \(listed)") }
        }
    }
}
