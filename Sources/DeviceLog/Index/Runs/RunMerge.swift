/// Makes one run of several, a piece at a time.
struct RunMerge {
    /// Neighbours, the newest first.
    let inputs: [Run]
    private let cursor: MergedCursor
    private var writer: RunWriter
    /// Nothing older is below: what is removed is gone for good.
    private let isLast: Bool

    var number: UInt64 { writer.number }

    init(_ inputs: [Run], writer: RunWriter, isLast: Bool) throws(DeviceLogError) {
        self.inputs = inputs
        self.writer = writer
        self.isLast = isLast
        cursor = MergedCursor(inputs)
        try [UInt8]().withBytes { (start) throws(DeviceLogError) in try cursor.seek(atOrBehind: start) }
    }

    /// Moves some entries; false when there are none left.
    mutating func step(entries: Int) throws(DeviceLogError) -> Bool {
        var left = entries
        while left > 0 {
            guard let entry = cursor.entry else { return false }
            if !entry.isRemoved || !isLast {
                try writer.add(cursor.key, entry.value, isRemoved: entry.isRemoved)
            }
            try cursor.move()
            left -= 1
        }
        return true
    }

    /// Nil when nothing is left of the inputs.
    mutating func finish() throws(DeviceLogError) -> Run? {
        writer.count == 0 ? nil : try writer.finish()
    }
}

/// Which runs are due to be merged: eight of about one size, with all that are newer. Sizes are told apart by powers of eight, so that an
/// entry is written again once for each power that the index has grown by, and there are fewer than eight runs for each. And all of them when
/// many entries only say that something is removed: whoever walks over the index walks over those.
struct MergePolicy {
    static let width = 8
    /// Removals that are worth a merge of everything, when they are a quarter of it too.
    private static let manyRemovals: UInt64 = 10_000
    /// Runs of fewer bytes are all of one size.
    let smallest: Int64

    struct Size: Equatable {
        var bytes: Int64
        var entries: UInt64 = 0
        /// Those that only say that something is removed.
        var removals: UInt64 = 0
    }

    func tier(_ bytes: Int64) -> Int {
        var tier = 0
        var limit = max(1, smallest)
        while bytes >= limit, tier < 16 {
            tier += 1
            limit *= Int64(Self.width)
        }
        return tier
    }

    /// How many runs to merge, from the newest on; nil when none are due.
    ///
    /// - Parameter sizes: of the runs, the newest first.
    func due(_ sizes: [Size]) -> Int? {
        let tiers = sizes.map { tier($0.bytes) }
        for tier in 0...(tiers.max() ?? 0) {
            let group = tiers.prefix { $0 <= tier }
            let isOfOneSize = group.count(where: { $0 == tier }) >= Self.width
            // Small runs below larger ones are of no group but these.
            if isOfOneSize || group.count >= Self.width * (tier + 1) { return group.count }
        }
        let entries = sizes.reduce(0) { $0 + $1.entries }
        let removals = sizes.reduce(0) { $0 + $1.removals }
        return removals >= Self.manyRemovals && removals * 4 >= entries && sizes.count > 1 ? sizes.count : nil
    }
}

extension RunIndex {
    /// Entries moved between two looks at what else is due.
    private static let stride = 4096
    /// Small runs at which a flush waits for a merge: it cannot keep up.
    private static let mostRuns = 3 * MergePolicy.width

    func tidy(until isDue: () -> Bool) throws(DeviceLogError) {
        try recordDamage()
        do throws(DeviceLogError) {
            while try beginMerge() {
                let last = merges.count - 1
                while try merges[last].step(entries: Self.stride) {
                    if isDue() { return }
                }
                try finishMerge()
                if isDue() { return }
            }
        } catch {
            note(error)
            abandonMerges()
            failed = try? version
            throw error
        }
    }

    /// Merges small runs when there are far too many. A flush does not fail because that does.
    func catchUp() {
        func isAhead() -> Bool {
            let runs = (try? version.runs) ?? []
            return runs.prefix { policy.tier($0.size) == 0 }.count < Self.mostRuns
        }
        if !isAhead() { try? tidy(until: isAhead) }
    }

    func abandonMerges() {
        for merge in merges { remove(merge.number) }
        merges.removeAll()
    }

    /// Begins the next one if it is due, above those that are under way; false when there is nothing to go on with.
    private func beginMerge() throws(DeviceLogError) -> Bool {
        let version = try version
        // Holding on to it would hold on to the files of runs that were replaced since.
        if failed !== version { failed = nil }
        let busy = merges.last?.inputs.first?.number
        // What is below a damaged run stays as it is.
        let runs = version.runs.prefix { $0.number != busy && !$0.isDamaged }
        // Only a merge that reaches the oldest run gets rid of removals.
        let isWhole = runs.count == version.runs.count
        let sizes = runs.map { run in
            MergePolicy.Size(bytes: run.size, entries: run.tail.count, removals: isWhole ? run.tail.removals : 0)
        }
        guard failed == nil, let count = policy.due(sizes) else { return !merges.isEmpty }
        let inputs = Array(runs.prefix(count))
        // On a disk that is nearly full a merge would only fail at its end.
        let bytes = inputs.reduce(0) { $0 + $1.size }
        if let space = try? fileSystem.space(at: directory), space.free < bytes { return !merges.isEmpty }
        let entries = inputs.reduce(UInt64(0)) { $0 + $1.tail.count }
        let writer = try beginRun(limit: Int(entries))
        do throws(DeviceLogError) {
            merges.append(try RunMerge(inputs, writer: writer, isLast: count == version.runs.count))
        } catch {
            remove(writer.number)
            throw error
        }
        return true
    }

    /// Ends the last one.
    private func finishMerge() throws(DeviceLogError) {
        let output = try merges[merges.count - 1].finish()
        let merge = merges.removeLast()
        if output == nil { remove(merge.number) }
        let version = try version
        let replaced = Set(merge.inputs.map(\.number))
        var runs = version.runs
        let place = runs.firstIndex { replaced.contains($0.number) } ?? 0
        runs.removeAll { replaced.contains($0.number) }
        if let output { runs.insert(output, at: place) }
        try commit(Version(runs: runs, state: version.state), adding: output, without: replaced.sorted())
    }
}
