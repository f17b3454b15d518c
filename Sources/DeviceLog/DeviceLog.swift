package import Logging
package import NIOCore

package final class DeviceLog: Sendable {
    package static func open(
        directory: String, identity: DeviceIdentity, fileSystem: any FileSystem = POSIXFileSystem(),
        configuration: Configuration = Configuration(), logger: Logger
    ) throws(DeviceLogError) -> DeviceLog { throw .closed }

    package func object(_ key: ObjectKey, body: BodyWanted = .inline, mayBlock: Bool) throws(DeviceLogError) -> ObjectState { throw .closed }
    package func version(of key: ObjectKey) throws(DeviceLogError) -> ObjectVersion { throw .closed }
    package func submit(_ write: consuming Write, completion: any WriteCompletion) {}
    /// Submits and waits (in `.manual` form: commits). For cold paths and tests; never on an event loop.
    package func perform(_ write: consuming Write) -> WriteOutcome { .failed(.closed) }
    package func confirm(_ position: LogPosition) {}
    package func takeUnconfirmedAfterRestart() -> [ObjectKey] { [] }
    package func stageBlob(expectedLength: Int64?) throws(DeviceLogError) -> StagedBlob { throw .closed }
    package func tableInfo(_ table: TableKey) throws(DeviceLogError) -> (info: ByteBuffer?, stats: TableStats) { throw .closed }
    package func row(_ table: TableKey, name: [UInt8]) throws(DeviceLogError) -> Row? { throw .closed }
    package func scan(
        _ table: TableKey, from start: ScanStart, reverse: Bool = false, includesDeleted: Bool = false,
        visit: (_ name: UnsafeRawBufferPointer, _ row: borrowing RowView) -> ScanStep
    ) throws(DeviceLogError) { throw .closed }
    package func pendingUpdates(limit: Int) throws(DeviceLogError) -> [(id: UInt64, payload: ByteBuffer)] { throw .closed }
    package func statistics() -> DeviceStatistics { DeviceStatistics() }
    /// XOR of the digests of buckets (top 16 bits of the hash).
    package func digest(policy: UInt8, buckets: Range<Int>) -> UInt64 { 0 }
    /// Keys and versions of some buckets in the order of their hashes, tombstones too.
    package func versions(
        policy: UInt8, buckets: Range<Int>, visit: (ObjectKey, ObjectVersion) -> Bool
    ) throws(DeviceLogError) { throw .closed }
    /// Forgets a tombstone that every replica has; false when an older record of the object may still be in the log.
    package func forgetTombstone(_ key: ObjectKey, timestamp: UInt64) throws(DeviceLogError) -> Bool { throw .closed }
    package func commitOnce() {}
    package func flushIndex() throws(DeviceLogError) {}
    package func compact() throws(DeviceLogError) -> Bool { throw .closed }
    package func close() {}
}
