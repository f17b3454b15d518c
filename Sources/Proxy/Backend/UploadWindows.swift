/// How much of each large body may be on its way at once: the uploads of an event loop share an amount of memory.
///
/// A value without I/O.
struct UploadWindows: Sendable {
    private let largest: Int
    private let smallest: Int
    private let memory: Int
    /// Large bodies that stream in now.
    private(set) var count = 0

    init(_ limits: StoreLimits) {
        largest = limits.uploadWindow
        // A piece goes out while the next one fills.
        smallest = min(limits.uploadWindow, limits.uploadPiece * 3 / 2)
        memory = limits.uploadMemory
    }

    /// Bytes of one upload that are received and not yet taken by the replicas, at most.
    var window: Int { max(smallest, min(largest, memory / max(1, count))) }

    mutating func begin() { count += 1 }

    mutating func end() { count -= 1 }
}
