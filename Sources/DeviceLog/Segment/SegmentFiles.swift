internal import Glibc
internal import Synchronization

/// The segment files of one device: names, open files, spare files for reuse.
final class SegmentFiles: Sendable {
    private struct State {
        var open: [UInt32: any File] = [:]
        var spares: [String] = []
        var nextSpare = 0
    }

    /// Files held open; beyond it one is dropped and opened again when needed.
    private static let maximumOpen = 512

    let directory: String
    private let fileSystem: any FileSystem
    private let maximumSpares: Int
    private let state = Mutex(State())

    init(directory: String, fileSystem: any FileSystem, maximumSpares: Int) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.maximumSpares = maximumSpares
    }

    /// The segments on disk in ascending order; remembers the spare files it meets.
    func scan() throws(FileError) -> [UInt32] {
        var segments: [UInt32] = []
        var spares: [String] = []
        for name in try fileSystem.list(directory) {
            if name.hasPrefix("spare-") {
                spares.append(name)
            } else if name.hasSuffix(".segment"), let number = UInt32(name.dropLast(8), radix: 16) {
                segments.append(number)
            }
        }
        state.withLock { $0.spares = spares.sorted() }
        return segments.sorted()
    }

    /// The segments on disk, in no order.
    func segments() throws(FileError) -> [UInt32] {
        try fileSystem.list(directory).compactMap { name in
            name.hasSuffix(".segment") ? UInt32(name.dropLast(8), radix: 16) : nil
        }
    }

    /// The open file of a segment, for reading.
    func file(_ segment: UInt32) throws(FileError) -> any File {
        if let file = state.withLock({ $0.open[segment] }) { return file }
        let file = try fileSystem.open(path(segment), .readWrite)
        keep(file, for: segment)
        return file
    }

    /// A file of its own for a segment, which keeps its bytes in view when the segment is given up.
    func openAnew(_ segment: UInt32) throws(FileError) -> any File { try fileSystem.open(path(segment), .read) }

    /// A file for a new segment, with its name durable: a spare one or a new one.
    func create(_ segment: UInt32) throws(FileError) -> any File {
        if let spare = state.withLock({ $0.spares.popLast() }) {
            try fileSystem.rename("\(directory)/\(spare)", to: path(segment))
        }
        let file = try fileSystem.open(path(segment), .create)
        try fileSystem.syncDirectory(directory)
        keep(file, for: segment)
        return file
    }

    /// Whether a file lies ready for the next segment.
    var hasSpare: Bool { state.withLock { !$0.spares.isEmpty } }

    /// Writes some zeros to the file that is to be a spare one.
    func extendDraft(at offset: Int64, by count: Int) throws(FileError) {
        try fileSystem.appendZeros(draft, at: offset, count: count)
    }

    /// Makes the file a spare one, with its zeros on disk.
    func finishDraft() throws(FileError) {
        let spare: String = state.withLock { state in
            state.nextSpare += 1
            return "spare-0-\(state.nextSpare)"
        }
        try fileSystem.open(draft, .readWrite).sync()
        try fileSystem.rename(draft, to: "\(directory)/\(spare)")
        try fileSystem.syncDirectory(directory)
        state.withLock { $0.spares.append(spare) }
    }

    private var draft: String { "\(directory)/draft" }

    /// Gives up a segment: its file is kept for reuse or removed.
    func recycle(_ segment: UInt32) throws(FileError) {
        let spare: String? = state.withLock { state in
            state.open[segment] = nil
            guard state.spares.count < maximumSpares else { return nil }
            state.nextSpare += 1
            return "spare-\(String(segment, radix: 16))-\(state.nextSpare)"
        }
        if let spare {
            try fileSystem.rename(path(segment), to: "\(directory)/\(spare)")
            state.withLock { $0.spares.append(spare) }
        } else {
            try fileSystem.remove(path(segment))
        }
        try fileSystem.syncDirectory(directory)
    }

    private func keep(_ file: any File, for segment: UInt32) {
        state.withLock { state in
            if state.open.count >= Self.maximumOpen, let victim = state.open.keys.first(where: { $0 != segment }) {
                state.open[victim] = nil
            }
            state.open[segment] = file
        }
    }

    func path(_ segment: UInt32) -> String {
        let digits = String(segment, radix: 16)
        return "\(directory)/\(String(repeating: "0", count: 8 - digits.utf8.count))\(digits).segment"
    }
}
