internal import CLMDB
internal import Glibc

/// Thin forms of LMDB's calls: bytes in, bytes or typed errors out.
enum LMDB {
    static func check(_ code: Int32) throws(DeviceLogError) {
        guard code != 0 else { return }
        throw code == ENOSPC ? .full : .index(code: code)
    }

    /// The value, valid as long as the transaction.
    static func get(
        _ transaction: OpaquePointer, _ database: MDB_dbi, _ key: UnsafeRawBufferPointer
    ) throws(DeviceLogError) -> UnsafeRawBufferPointer? {
        var key = value(key)
        var found = MDB_val()
        let code = mdb_get(transaction, database, &key, &found)
        if code == MDB_NOTFOUND { return nil }
        try check(code)
        return bytes(found)
    }

    static func put(
        _ transaction: OpaquePointer, _ database: MDB_dbi, _ key: UnsafeRawBufferPointer,
        _ content: UnsafeRawBufferPointer
    ) throws(DeviceLogError) {
        var key = value(key)
        var content = value(content)
        try check(mdb_put(transaction, database, &key, &content, 0))
    }

    static func put(
        _ transaction: OpaquePointer, _ database: MDB_dbi, _ key: [UInt8], _ content: [UInt8]
    ) throws(DeviceLogError) {
        try key.withBytes { (key) throws(DeviceLogError) in
            try content.withBytes { (content) throws(DeviceLogError) in
                try put(transaction, database, key, content)
            }
        }
    }

    static func remove(
        _ transaction: OpaquePointer, _ database: MDB_dbi, _ key: UnsafeRawBufferPointer
    ) throws(DeviceLogError) {
        var key = value(key)
        let code = mdb_del(transaction, database, &key, nil)
        if code != MDB_NOTFOUND { try check(code) }
    }

    static func value(_ bytes: UnsafeRawBufferPointer) -> MDB_val {
        MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
    }

    static func bytes(_ value: MDB_val) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
    }
}

/// A cursor that closes itself.
struct LMDBCursor: ~Copyable {
    private let cursor: OpaquePointer

    init(_ transaction: OpaquePointer, _ database: MDB_dbi) throws(DeviceLogError) {
        var opened: OpaquePointer?
        try LMDB.check(mdb_cursor_open(transaction, database, &opened))
        guard let opened else { throw .closed }
        cursor = opened
    }

    deinit {
        mdb_cursor_close(cursor)
    }

    typealias Entry = (key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)

    /// The first entry at or behind a key.
    func seek(_ key: [UInt8]) throws(DeviceLogError) -> Entry? {
        try key.withBytes { (bytes) throws(DeviceLogError) in
            var key = LMDB.value(bytes)
            var value = MDB_val()
            let code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            if code == MDB_NOTFOUND { return nil }
            try LMDB.check(code)
            return (LMDB.bytes(key), LMDB.bytes(value))
        }
    }

    func move(_ operation: MDB_cursor_op) throws(DeviceLogError) -> Entry? {
        var key = MDB_val()
        var value = MDB_val()
        let code = mdb_cursor_get(cursor, &key, &value, operation)
        if code == MDB_NOTFOUND { return nil }
        try LMDB.check(code)
        return (LMDB.bytes(key), LMDB.bytes(value))
    }
}

extension Array where Element == UInt8 {
    /// `withUnsafeBytes` for closures that throw typed errors.
    @inline(__always)
    func withBytes<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let result: Result<Value, Failure> = withUnsafeBytes { bytes in
            do throws(Failure) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

/// `withUnsafeTemporaryAllocation` for closures that throw typed errors.
@inline(__always)
func withUnsafeTemporaryBytes<Value, Failure: Error>(
    _ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Value
) throws(Failure) -> Value {
    let result: Result<Value, Failure> = withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { bytes in
        do throws(Failure) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
}
