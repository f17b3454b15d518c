import NIOCore

extension SetWorker {
    private static let maximumName = 64

    func encode(into buffer: inout ByteBuffer) {
        buffer.write(name, limit: Self.maximumName)
        switch change {
        case .pause: buffer.writeInteger(UInt8(0))
        case .resume: buffer.writeInteger(UInt8(1))
        case .pace(let pace):
            buffer.writeInteger(UInt8(2))
            buffer.writeInteger(pace)
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        let bytes = try reader.shortBytes()
        guard bytes.count <= Self.maximumName, let name = String(validating: bytes, as: UTF8.self) else {
            throw .malformed("the name of a worker")
        }
        self.name = name
        let number = try reader.integer(UInt8.self)
        switch number {
        case 0: change = .pause
        case 1: change = .resume
        case 2: change = .pace(try reader.number())
        default: throw .malformed("worker change \(number)")
        }
    }
}

extension WorkerReport {
    static let maximumWorkers = 256
    private static let maximumText = 1024
    /// Five empty texts, four numbers, two that are not there.
    static let smallestSize = 5 * 2 + 4 * 8 + 2

    func encode(into buffer: inout ByteBuffer) {
        for text in [name, state, activity, unit, lastError] { buffer.write(text, limit: Self.maximumText) }
        buffer.writeMultipleIntegers(done, rate, errors, pace)
        for number in [total, lastPass] {
            buffer.write(number != nil)
            if let number { buffer.writeInteger(number) }
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        name = try reader.text(limit: Self.maximumText)
        state = try reader.text(limit: Self.maximumText)
        activity = try reader.text(limit: Self.maximumText)
        unit = try reader.text(limit: Self.maximumText)
        lastError = try reader.text(limit: Self.maximumText)
        done = try reader.integer()
        rate = try reader.integer()
        errors = try reader.integer()
        pace = try reader.integer()
        total = try reader.flag() ? try reader.integer() : nil
        lastPass = try reader.flag() ? try reader.integer() : nil
    }
}

extension ByteBuffer {
    mutating func write(_ workers: [WorkerReport]) {
        let workers = workers.prefix(WorkerReport.maximumWorkers)
        writeInteger(UInt16(workers.count))
        for worker in workers { worker.encode(into: &self) }
    }
}

extension WireReader {
    mutating func workers() throws(WireError) -> [WorkerReport] {
        let count = try count(limit: WorkerReport.maximumWorkers, size: WorkerReport.smallestSize)
        var workers: [WorkerReport] = []
        workers.reserveCapacity(count)
        for _ in 0..<count { workers.append(try WorkerReport(from: &self)) }
        return workers
    }
}
