internal import Logging
internal import Synchronization

/// Whether what looks damaged is, seen from the index: reads it again, and acts.
extension DeviceAudit {
    func check(_ reference: LogReference, _ stretches: [Stretch]) throws(DeviceLogError) {
        switch reference {
        case .object(let key): try checkObject(key, stretches)
        case .row(let table, let name): try checkRecord(reference, log.catalog.row(table, name)?.record)
        case .info(let table): try checkRecord(reference, log.catalog.table(table)?.infoRecord)
        case .pending(let id): try checkRecord(reference, log.catalog.pending(id)?.record)
        }
    }

    private func checkObject(_ key: ObjectKey, _ stretches: [Stretch]) throws(DeviceLogError) {
        guard let entry = try log.catalog.object(key),
            entry.refers(to: { stretches.contain($0) })
        else { return }
        switch entry.kind {
        case .removed: return
        case .tombstone, .quarantined, .evicted: try checkRecord(.object(key), entry.record)
        case .live:
            do {
                // It reports damage as any read does.
                _ = try log.object(key, body: .inline, mayBlock: true, reader: reader)
            } catch {
                switch error {
                case .corrupt:
                    log.forgetStuck(entry.body.segment)
                    found(.object(key))
                case .quarantined: return
                default: throw error
                }
            }
        }
    }

    /// A record of which the index holds all.
    private func checkRecord(_ reference: LogReference, _ record: RecordLocation?) throws(DeviceLogError) {
        guard let record, record.length > 0 else { return }
        do {
            _ = try reader.record(at: record, mayBlock: true)
            return
        } catch {
            guard error == .corrupt else { throw error }
        }
        switch log.perform(.restate(reference, record)) {
        case .stored:
            log.forgetStuck(record.segment)
            found(.restored(record.position))
        case .failed(let error): throw error
        case .superseded, .missing, .baseMismatch, .conditionFailed, .refused: return
        }
    }
}

extension Catalog {
    /// What refers to records that `isWanted` tells, at most so many. Walks over the whole index.
    func references(
        limit: Int, to isWanted: (RecordLocation) -> Bool
    ) throws(DeviceLogError) -> Set<LogReference> {
        // Memory first, as with lookups: an entry leaves it only after the index has it.
        var found: Set<LogReference> = memory.withLock { memory in
            [memory.active, memory.flushing?.layer].compactMap { $0 }.reduce(into: []) { found, layer in
                Self.collect(layer, isWanted, limit, &found)
            }
        }
        guard found.count < limit else { return found }
        try index.references(to: isWanted) { reference in
            if !isInMemory(reference) { found.insert(reference) }
            return found.count < limit
        }
        return found
    }

    /// Whether what the index has of it counts no longer.
    private func isInMemory(_ reference: LogReference) -> Bool {
        memory.withLock { memory in
            [memory.active, memory.flushing?.layer].contains { layer in
                guard let layer else { return false }
                switch reference {
                case .object(let key): return layer.objects[key] != nil
                case .row(let table, let name):
                    return name.withUnsafeBytes { layer.row(table, $0, hash: MemoryLayer.hash(table, $0)) != nil }
                case .info(let table): return layer.tables[table] != nil
                case .pending(let id): return layer.pending[id] != nil
                }
            }
        }
    }

    private static func collect(
        _ layer: MemoryLayer, _ isWanted: (RecordLocation) -> Bool, _ limit: Int, _ found: inout Set<LogReference>
    ) {
        func add(_ reference: LogReference) { if found.count < limit { found.insert(reference) } }
        for slot in layer.objects.sorted() where slot.entry.refers(to: isWanted) { add(.object(slot.key)) }
        for (table, rows) in layer.rows {
            rows.forEach { if isWanted($0.row.record) { add(.row(table, name: $0.name)) } }
        }
        for (table, state) in layer.tables where isWanted(state.infoRecord) { add(.info(table)) }
        for (id, entry) in layer.pending {
            if let entry, isWanted(entry.record) { add(.pending(id)) }
        }
    }
}

extension DeviceLog {
    /// The object under a key, read wholly from the disk: record, metadata and body, whatever is in memory. Blocks as long as that takes.
    ///
    /// Throws `.corrupt` when it is damaged, which puts it into quarantine, `.quarantined` when that was known.
    ///
    /// - Parameter advance: told of bytes of the body that were read.
    package func verify(_ key: ObjectKey, advance: (Int) -> Void = { _ in }) throws(DeviceLogError) -> ObjectState {
        var direct = reader
        direct.isDirect = true
        let state = try object(key, body: .inline, mayBlock: true, reader: direct)
        guard case .live(let object) = state, case .blob(let body) = object.body else { return state }
        _ = try body.verify { count in
            advance(count)
            return true
        }
        return state
    }

    /// As when a merge meets it: the next start builds another index.
    func noteIndexDamage(_ run: UInt64) {
        logger.error("A run of the index is damaged", metadata: ["run": "\(run)"])
        state.withLock { $0.isIndexDamaged = true }
        maintenance.raise()
    }

    /// What held it back is written elsewhere: compaction may try again.
    func forgetStuck(_ segment: UInt32) {
        state.withLock { _ = $0.stuckSegments.remove(segment) }
    }
}
