/// The index as the audit sees it: every byte of every run, and what refers to a stretch of the log.
extension RunIndex {
    var size: Int64 { (try? version.runs.reduce(0) { $0 + $1.size }) ?? 0 }

    func audit(advance: (Int) -> Bool, damaged: (UInt64) -> Void) throws(DeviceLogError) -> Bool {
        for run in try version.runs where !run.isDamaged {
            let (isSound, isWhole) = try run.audit(advance)
            // What a merge replaced meanwhile was sound, or the merge would have failed.
            if !isSound, try version.runs.contains(where: { $0 === run }) {
                run.noteDamage()
                note(.corrupt)
                damaged(run.number)
            }
            guard isWhole else { return false }
        }
        return true
    }

    func references(
        to isWanted: (RecordLocation) -> Bool, _ visit: (LogReference) -> Bool
    ) throws(DeviceLogError) {
        var isStopped = false
        /// Walks over a space, unless the visit has ended it all.
        func look(
            in space: IndexSpace,
            _ reference: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(DeviceLogError) -> LogReference?
        ) throws(DeviceLogError) {
            guard !isStopped else { return }
            try walk(space, from: [space.rawValue]) { (key, value) throws(DeviceLogError) in
                if let found = try reference(key, value), !visit(found) { isStopped = true }
                return !isStopped
            }
        }
        try look(in: .objects) { (key, value) throws(DeviceLogError) in
            guard let object = IndexCoding.objectKey(key), let entry = IndexCoding.object(value) else { throw .corrupt }
            return entry.refers(to: isWanted) ? .object(object) : nil
        }
        for space in [IndexSpace.rows, .deletedRows] {
            try look(in: space) { (key, value) throws(DeviceLogError) in
                guard let record = IndexCoding.rowRecord(value) else { throw .corrupt }
                guard isWanted(record) else { return nil }
                guard let table = IndexCoding.tableKey(key) else { throw .corrupt }
                return .row(table, name: [UInt8](key[IndexCoding.tableKeySize...]))
            }
        }
        try look(in: .tables) { (key, value) throws(DeviceLogError) in
            guard let table = IndexCoding.tableKey(key), let record = IndexCoding.leadingRecord(value) else {
                throw .corrupt
            }
            return isWanted(record) ? .info(table) : nil
        }
        try look(in: .pending) { (key, value) throws(DeviceLogError) in
            guard key.count == 8, let record = IndexCoding.leadingRecord(value) else { throw .corrupt }
            return isWanted(record) ? .pending(UInt64(bigEndian: key.loadUnaligned(as: UInt64.self))) : nil
        }
    }
}

extension ObjectEntry {
    /// Of a tombstone `data` is no record.
    func refers(to isWanted: (RecordLocation) -> Bool) -> Bool {
        isWanted(record) || (data.length != 0 && isWanted(data))
    }
}

extension Run {
    private static let auditWindow = 1 << 20

    /// Reads the file from the disk, past the page cache, and verifies each block and the tail.
    ///
    /// - Returns: whether all that was read is sound, and whether `advance` let it come to the end.
    func audit(_ advance: (Int) -> Bool) throws(DeviceLogError) -> (isSound: Bool, isWhole: Bool) {
        var reader = AuditWindow(size: Self.auditWindow)
        defer { reader.close() }
        do throws(FileError) {
            for block in 0..<blockCount {
                let length = length(ofBlock: block)
                let bytes = try reader.bytes(of: file, at: tail.fences.offsets[block], count: length, fileSize: size)
                guard let bytes, RunBlock(bytes) != nil else { return (false, true) }
                guard advance(length) else { return (true, false) }
            }
            return try auditTail(&reader, advance)
        } catch {
            throw DeviceLogError(error)
        }
    }

    /// The tail is in memory already; what a start would read is on the disk.
    private func auditTail(
        _ reader: inout AuditWindow, _ advance: (Int) -> Bool
    ) throws(FileError) -> (isSound: Bool, isWhole: Bool) {
        let end = size - 4
        var offset = tail.end
        var checksum: UInt32 = 0
        while offset < end {
            let count = Int(min(end - offset, Int64(Self.auditWindow / 2)))
            guard let bytes = try reader.bytes(of: file, at: offset, count: count, fileSize: size) else {
                return (false, true)
            }
            checksum = CRC32C.checksum(bytes, seed: checksum)
            offset += Int64(count)
            guard advance(count) else { return (true, false) }
        }
        let stored = try reader.bytes(of: file, at: end, count: 4, fileSize: size)?.baseAddress?.get(UInt32.self, at: 0)
        return (stored == checksum, true)
    }
}

/// A file read from the disk from its beginning to its end, in large pieces.
struct AuditWindow {
    private var memory: UnsafeMutableRawBufferPointer
    private var start: Int64 = 0
    private var count = 0

    init(size: Int) {
        memory = .allocate(byteCount: size.roundedUpToPage, alignment: directAlignment)
    }

    func close() { memory.deallocate() }

    /// Bytes of the file, valid until the next call; nil when the file is shorter.
    mutating func bytes(
        of file: any File, at offset: Int64, count wanted: Int, fileSize: Int64
    ) throws(FileError) -> UnsafeRawBufferPointer? {
        if offset < start || offset + Int64(wanted) > start + Int64(count) {
            start = offset / Int64(directAlignment) * Int64(directAlignment)
            let needed = Int(offset - start) + wanted
            if needed > memory.count {
                memory.deallocate()
                memory = .allocate(byteCount: needed.roundedUpToPage, alignment: directAlignment)
            }
            count = 0
            let left = Int(min(Int64(memory.count), max(0, fileSize - start))).roundedUpToPage
            count = try file.readForAudit(into: UnsafeMutableRawBufferPointer(rebasing: memory[..<left]), at: start)
            guard count >= needed else { return nil }
        }
        return UnsafeRawBufferPointer(memory).part(Int(offset - start), wanted)
    }
}
