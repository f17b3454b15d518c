import NIOCore
import StorageWire

@testable import Proxy

/// The operations of the store as a client of a test sees them.
extension TestCluster {
    enum Written: Equatable, Sendable {
        case stored(Timestamp)
        case exists
        case missing
        case notEmpty
        case unavailable(StorageFailure.Reason)

        var isStored: Bool { if case .stored = self { true } else { false } }
        var isUnavailable: Bool { if case .unavailable = self { true } else { false } }
    }

    enum Found: Equatable, Sendable {
        case body([UInt8])
        case missing
        case unavailable
        /// The answer broke off.
        case cut
    }

    func target(_ object: String, in container: String = "c") -> ObjectTarget {
        ObjectTarget(
            cluster: cluster, policy: 0, account: Array("a".utf8), container: Array(container.utf8),
            object: Array(object.utf8))!
    }

    func container(_ name: String = "c") -> TableTarget {
        TableTarget(cluster: cluster, account: Array("a".utf8), container: Array(name.utf8))
    }

    func put(
        _ object: String, _ body: [UInt8], in container: String = "c", condition: PutCondition = .none,
        paces: Bool = false,
        proxy: Int = 0
    ) async -> Written {
        await run(proxy: proxy) { loop, done in
            let target = self.target(object, in: container)
            let keeper = Keeper<ObjectUpload>()
            let upload = ObjectUpload(
                loop, target: target, condition: condition, expectedLength: Int64(body.count),
                seal: { etag, size in
                    ObjectHead(
                        account: target.account, container: target.container, object: target.object, size: size,
                        etag: etag, contentType: Array("text/plain".utf8))
                },
                completion: { outcome in
                    // It may be used by who called until that has returned.
                    loop.eventLoop.assumeIsolated().execute { keeper.value = nil }
                    switch outcome {
                    case .stored(let timestamp, _, _): done(.stored(timestamp))
                    case .exists: done(.exists)
                    case .refused: done(.missing)
                    case .unavailable(let failure): done(.unavailable(failure.reason))
                    }
                })
            keeper.value = upload
            let source = PacedSource(body)
            upload.onPause = { paused in
                source.isPaused = paces && paused
                source.feed(upload)
            }
            source.feed(upload)
        }
    }

    func get(_ object: String, in container: String = "c", newest: Bool = false, proxy: Int = 0) async -> Found {
        await run(proxy: proxy) { loop, done in
            let keeper = Keeper<ObjectRead>()
            let end: (Found) -> Void = { found in
                loop.eventLoop.assumeIsolated().execute {
                    keeper.value?.end()
                    keeper.value = nil
                }
                done(found)
            }
            let read = ObjectRead(loop, target: self.target(object, in: container), wanted: .body, newest: newest) {
                outcome in
                switch outcome {
                case .notFound: end(.missing)
                case .unavailable: end(.unavailable)
                case .found(let reply):
                    if let body = reply.body { return end(.body(Array(body.readableBytesView))) }
                    var bytes: [UInt8] = []
                    keeper.value?.pull(
                        0..<reply.bodyLength, of: reply, onChunk: { bytes += $0.readableBytesView },
                        onEnd: { end($0 ? .body(bytes) : .cut) }
                    ).resume()
                }
            }
            keeper.value = read
            read.start()
        }
    }

    func delete(_ object: String, in container: String = "c", proxy: Int = 0) async -> Written {
        await run(proxy: proxy) { loop, done in
            ObjectChanges.delete(loop, self.target(object, in: container)) { done(Self.written($0)) }
        }
    }

    /// Changes the content type.
    func post(_ object: String, type: String, proxy: Int = 0) async -> Written {
        await run(proxy: proxy) { loop, done in
            ObjectChanges.update(
                loop, self.target(object),
                change: { reply in
                    var head = try? ObjectHead(decoding: reply.head)
                    head?.contentType = Array(type.utf8)
                    return head
                }, completion: { done(Self.written($0)) })
        }
    }

    static func written(_ outcome: ObjectChanges.Outcome) -> Written {
        switch outcome {
        case .stored(let timestamp): .stored(timestamp)
        case .missing: .missing
        case .unavailable(let failure): .unavailable(failure.reason)
        }
    }

    func create(_ container: String = "c", metadata: [ObjectHead.Header] = []) async -> Written {
        await run { loop, done in
            TableChanges.update(
                loop, self.container(container), creates: true, policy: UpdateTable.anyPolicy, metadata: metadata
            ) { done(Self.written($0)) }
        }
    }

    func deleteContainer(_ container: String = "c") async -> Written {
        await run { loop, done in
            TableChanges.delete(loop, self.container(container)) { done(Self.written($0)) }
        }
    }

    /// Nil when no majority says.
    func isThere(_ container: String = "c") async -> Bool? {
        await run { loop, done in
            TableRead.run(loop, self.container(container)) { outcome in
                guard case .state(let state) = outcome else { return done(nil) }
                done(state.isLive)
            }
        }
    }

    static func written(_ outcome: TableChanges.Outcome) -> Written {
        switch outcome {
        case .stored(let timestamp, _): .stored(timestamp)
        case .missing, .deleted: .missing
        case .notEmpty, .policyConflict: .notEmpty
        case .unavailable(let failure): .unavailable(failure.reason)
        }
    }

    /// Names and subdirectories of a page, `nil` when there is no majority.
    func list(_ container: String = "c", _ change: @escaping @Sendable (inout ListTable) -> Void = { _ in }) async
        -> [String]?
    {
        await run { loop, done in
            let target = self.container(container)
            var query = ListTable(table: target.address(0), limit: 10_000)
            change(&query)
            TableListing.run(loop, target, query) { outcome in
                guard case .page(_, _, let entries) = outcome else { return done(nil) }
                done(try? Self.names(entries))
            }
        }
    }

    static func names(_ entries: ByteBuffer) throws -> [String] {
        var reader = WireReader(entries)
        var names: [String] = []
        while reader.remaining > 0 {
            switch try ListingEntry(from: &reader) {
            case .row(let row): names.append(String(decoding: row.name, as: UTF8.self))
            case .subdirectory(let name): names.append(String(decoding: name, as: UTF8.self))
            }
        }
        return names
    }

    /// Gives an upload its bytes, and waits while it is told to.
    final class PacedSource {
        var isPaused = false
        private var rest: ArraySlice<UInt8>
        private var isFeeding = false
        private var isOver = false

        init(_ body: [UInt8]) { rest = body[...] }

        func feed(_ upload: ObjectUpload) {
            guard !isFeeding, !isOver else { return }
            isFeeding = true
            while !isPaused, !rest.isEmpty {
                let piece = ByteBuffer(bytes: rest.prefix(16_000))
                rest = rest.dropFirst(16_000)
                upload.write(piece)
            }
            isFeeding = false
            guard rest.isEmpty else { return }
            isOver = true
            upload.finish()
        }
    }

    /// Holds an operation until its answer has come.
    final class Keeper<Value: AnyObject> { var value: Value? }
}

/// A generator whose sequence its seed decides (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
