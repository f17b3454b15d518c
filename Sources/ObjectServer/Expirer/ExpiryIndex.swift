import DeviceLog
import NIOCore
import Ring
import StorageWire

/// Which objects of a device cease to be, and when: a table of the device itself whose rows are in the order of time, so that nothing is
/// walked to find those that are due.
///
/// A row is in the log before the object that it is about, and may outlive it or be about an older version of it: what counts is the object's own head.
enum ExpiryIndex {
    struct Entry: Equatable, Sendable {
        /// Since 1970.
        var seconds: Int64
        var key: ObjectKey
        /// Of the write that was to cease.
        var timestamp: UInt64

        /// In the order of time: seconds, policy, hash, all big endian.
        var name: [UInt8] {
            var buffer = ByteBuffer()
            buffer.writeInteger(seconds)
            buffer.writeInteger(key.policy)
            buffer.writeInteger(key.hash.high)
            buffer.writeInteger(key.hash.low)
            return Array(buffer.readableBytesView)
        }

        init(seconds: Int64, key: ObjectKey, timestamp: UInt64) {
            self.seconds = seconds
            self.key = key
            self.timestamp = timestamp
        }

        init?(name: UnsafeRawBufferPointer, timestamp: UInt64) {
            var buffer = ByteBuffer(bytes: name)
            guard let seconds = buffer.readInteger(as: Int64.self), let policy = buffer.readInteger(as: UInt8.self),
                let high = buffer.readInteger(as: UInt64.self), let low = buffer.readInteger(as: UInt64.self)
            else { return nil }
            self.init(
                seconds: seconds, key: ObjectKey(policy: policy, hash: PathHash(high: high, low: low)),
                timestamp: timestamp)
        }
    }

    private static let table = TableKey(kind: .expiry, hash: PathHash(high: 0, low: 0))

    /// Notes when an object with this head ceases to be, if ever. To be called before the object is submitted.
    static func note(
        _ head: ByteBuffer, of key: ObjectKey, timestamp: UInt64, in log: DeviceLog, _ server: ObjectServer,
        on eventLoop: any EventLoop
    ) {
        let seconds = ObjectHead.deleteAt(of: head)
        guard seconds > 0 else { return }
        let entry = Entry(seconds: seconds, key: key, timestamp: timestamp)
        ExpiryNote(entry, log, server, eventLoop).submit()
    }

    /// Entries until `seconds`, in the order of time and behind `last`. Blocks.
    static func due(
        in log: DeviceLog, until seconds: Int64, after last: Entry?, limit: Int
    ) throws(DeviceLogError) -> [Entry] {
        var entries: [Entry] = []
        try log.scan(table, from: last.map { .after($0.name) } ?? .first) { name, row in
            guard let entry = Entry(name: name, timestamp: row.timestamp) else { return .next }
            guard entry.seconds <= seconds, entries.count < limit else { return .stop }
            entries.append(entry)
            return .next
        }
        return entries
    }

    /// Forgets an entry, unless a later write of the same object is to cease at the same time.
    static func forget(_ entry: Entry, in log: DeviceLog, _ server: ObjectServer, on eventLoop: any EventLoop) {
        log.submit(
            .row(table, Row(name: entry.name, timestamp: entry.timestamp + 1, deleted: true)),
            completion: IgnoredOutcome(sink: server.sinks.sink(for: eventLoop)))
    }

    /// An entry on its way to the log; again and again while the device is busy, for the object behind it may have found room.
    private final class ExpiryNote: WriteCompletion, @unchecked Sendable {
        // Unchecked: used on its event loop only.

        let sink: any CompletionSink
        private let entry: Entry
        private let log: DeviceLog
        private let eventLoop: any EventLoop
        private var attempts = 0

        private static let maximumAttempts = 100
        private static let pause = TimeAmount.milliseconds(500)

        init(_ entry: Entry, _ log: DeviceLog, _ server: ObjectServer, _ eventLoop: any EventLoop) {
            self.entry = entry
            self.log = log
            self.eventLoop = eventLoop
            sink = server.sinks.sink(for: eventLoop)
        }

        func submit() {
            attempts += 1
            log.submit(.row(table, Row(name: entry.name, timestamp: entry.timestamp)), completion: self)
        }

        func completed(_ outcome: WriteOutcome) {
            guard outcome == .failed(.busy), attempts < Self.maximumAttempts else { return }
            eventLoop.scheduleTask(in: Self.pause) { [self] in submit() }
        }
    }
}
