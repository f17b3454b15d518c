/// The ids of the devices that should hold a partition, in the order of the replicas and without duplicates.
///
/// Up to `inlineLimit` ids are held in place.
package struct PrimaryDevices: RandomAccessCollection, Sendable {
    /// More ids than this need an allocation.
    package static let inlineLimit = 8

    private var ids = InlineArray<8, UInt32>(repeating: 0)
    private var more: [UInt32] = []
    package private(set) var endIndex = 0

    init() {}

    package var startIndex: Int { 0 }

    package subscript(position: Int) -> Int {
        precondition(position < endIndex, "no such primary")
        return Int(position < Self.inlineLimit ? ids[position] : more[position - Self.inlineLimit])
    }

    /// Of its own, because the standard one costs an allocation per id from another module.
    package struct Iterator: IteratorProtocol {
        private let devices: PrimaryDevices
        private var position = 0

        fileprivate init(_ devices: PrimaryDevices) {
            self.devices = devices
        }

        package mutating func next() -> Int? {
            guard position < devices.endIndex else { return nil }
            defer { position += 1 }
            return devices[position]
        }
    }

    package func makeIterator() -> Iterator { Iterator(self) }

    /// The ids as an array of the wire's type, made here: going through the collection from another module costs more than the lookup.
    package var deviceIDs: [UInt16] {
        [UInt16](unsafeUninitializedCapacity: endIndex) { buffer, count in
            for position in 0..<endIndex {
                let id = position < Self.inlineLimit ? ids[position] : more[position - Self.inlineLimit]
                buffer[position] = UInt16(truncatingIfNeeded: id)
            }
            count = endIndex
        }
    }

    /// Appends an id unless it is there already.
    @inline(__always)
    mutating func insert(_ id: UInt32) {
        for position in 0..<Swift.min(endIndex, Self.inlineLimit) where ids[position] == id { return }
        if endIndex < Self.inlineLimit {
            ids[endIndex] = id
        } else {
            guard !more.contains(id) else { return }
            more.append(id)
        }
        endIndex += 1
    }
}
