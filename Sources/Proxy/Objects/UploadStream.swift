package import NIOCore
import NIOPosix
package import StorageWire

/// A large body on its way to all replicas at once: sent in chunks, hashed on a worker meanwhile, held back by the slowest replica and by
/// the hash. A replica that takes nothing for `StoreLimits.uploadStall` while the others wait for it is given up.
///
/// Bound to its event loop.
package final class UploadStream {
    private let loop: ProxyLoop
    private let target: ObjectTarget
    private let expectedLength: Int64
    private let digest: BodyDigest

    package var onPause: ((Bool) -> Void)?
    package var onFailure: ((StorageFailure) -> Void)?
    /// All bytes are sent and hashed; given the MD5.
    package var onWhole: (([UInt8]) -> Void)?
    package var onCommitReply: ((StorageReply, Int) -> Void)?

    private struct Replica {
        var acknowledged: Int64 = 0
        var failed = false
        /// The opening and chunks that have had no answer.
        var unanswered = 0
        /// Commits that have had no answer; only the last one's counts.
        var commits = 0
    }

    private var fanOut: FanOut?
    private var replicas: [Replica]
    private var gather: PieceGather
    /// Received, and not yet on a worker to be hashed.
    private var unhashed: [ByteBuffer] = []
    private var isHashing = false
    /// Received, and to be sent to the replicas before this turn ends.
    private var unsent = CircularBuffer<ByteBuffer>()
    private var isSending = false
    private var received: Int64 = 0
    private var hashed: Int64 = 0
    private var sent: Int64 = 0
    private var isPaused = false
    /// Looks after replicas that hold up the others.
    private var stallWatch: Scheduled<Void>?
    private var isWhole = false
    /// From here on the commit's quorum decides what a lost replica means.
    private var isCommitting = false
    private var isEnded = false
    /// Among the uploads that share the loop's memory.
    private var isCounted = false

    package init(_ loop: ProxyLoop, target: ObjectTarget, expectedLength: Int64, digest: BodyDigest) {
        self.loop = loop
        self.target = target
        self.expectedLength = expectedLength
        self.digest = digest
        // Of two pieces one is on its way while the other one fills.
        gather = PieceGather(
            size: min(loop.limits.uploadPiece, loop.limits.uploadWindow / 2, UploadChunk.maximumChunk))
        replicas = Array(repeating: Replica(), count: target.primaries.count)
    }

    package func open() {
        let fanOut = FanOut(loop) { [unowned self] reply, index in receive(reply, from: index) }
        self.fanOut = fanOut
        loop.uploads.begin()
        isCounted = true
        for index in target.primaries.indices where !isEnded {
            replicas[index].unanswered += 1
            fanOut.ask(
                .openUpload(OpenUpload(address: target.address(index), expectedLength: expectedLength)),
                device: target.primaries[index], index: index, timeout: loop.limits.writeTimeout)
        }
    }

    package func write(_ chunk: ByteBuffer) {
        guard !isEnded else { return }
        received += Int64(chunk.readableBytes)
        gather.window = loop.uploads.window
        gather.add(chunk) { piece in
            unhashed.append(piece)
            unsent.append(piece)
        }
        hashNext()
        sendAll()
        updatePause()
    }

    private func sendAll() {
        // A replica that fails here may let the source go on, into this function: the outer call sends what that adds, in order.
        guard !isSending else { return }
        isSending = true
        while !isEnded, let piece = unsent.popFirst() { send(piece) }
        isSending = false
    }

    package func finish() {
        guard !isEnded else { return }
        if let rest = gather.takeRest() {
            unhashed.append(rest)
            unsent.append(rest)
            sendAll()
        }
        isWhole = true
        // Nobody waits for a slow replica any more.
        stallWatch?.cancel()
        stallWatch = nil
        hashNext()
    }

    package func commit(_ message: CommitUpload, index: Int) {
        guard !replicas[index].failed else {
            onCommitReply?(.failed(StorageFailure(.unreachable, "lost during the upload")), index)
            return
        }
        replicas[index].commits += 1
        fanOut?.follow(.commitUpload(message), index: index, timeout: loop.limits.commitTimeout)
    }

    /// Nothing is heard any more; replicas that are still at their commit are left to finish it.
    package func detach() {
        fanOut?.detach()
        fanOut = nil
        end()
    }

    package func end() {
        isEnded = true
        if isCounted { loop.uploads.end() }
        isCounted = false
        stallWatch?.cancel()
        stallWatch = nil
        fanOut?.end()
        fanOut = nil
        unhashed.removeAll()
        unsent.removeAll()
        onPause = nil
        onFailure = nil
        onWhole = nil
        onCommitReply = nil
    }

    private func send(_ chunk: ByteBuffer) {
        sent += Int64(chunk.readableBytes)
        let message = StorageRequest.chunk(UploadChunk(bytes: chunk))
        for index in replicas.indices where !isEnded && !replicas[index].failed {
            replicas[index].unanswered += 1
            fanOut?.follow(message, index: index, timeout: loop.limits.commitTimeout)
        }
    }

    /// One worker at a time for one body; the others hash other bodies.
    private func hashNext() {
        guard !isHashing, !isEnded else { return }
        guard !unhashed.isEmpty else {
            if isWhole, !isCommitting {
                isCommitting = true
                onWhole?(digest.finish())
            }
            return
        }
        isHashing = true
        let digest = digest
        let chunks = unhashed
        unhashed = []
        let loopBound = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let eventLoop = loop.eventLoop
        loop.workers.submit { _ in
            for chunk in chunks { digest.update(chunk) }
            let bytes = chunks.reduce(0) { $0 + Int64($1.readableBytes) }
            eventLoop.execute { loopBound.value.noteHashed(bytes) }
        }
    }

    private func noteHashed(_ bytes: Int64) {
        isHashing = false
        guard !isEnded else { return }
        hashed += bytes
        updatePause()
        hashNext()
    }

    /// Answers come in the order of the messages.
    private func receive(_ reply: StorageReply, from index: Int) {
        guard !isEnded, !replicas[index].failed else { return }
        if replicas[index].unanswered > 0 {
            replicas[index].unanswered -= 1
            guard case .accepted(let bytes) = reply else { return fail(index, StorageFailure(unexpected: reply)) }
            replicas[index].acknowledged += Int64(bytes)
            return updatePause()
        }
        guard replicas[index].commits > 0 else { return }
        if case .failed(let failure) = reply { return fail(index, failure) }
        replicas[index].commits -= 1
        if replicas[index].commits == 0 { onCommitReply?(reply, index) }
    }

    private func fail(_ index: Int, _ failure: StorageFailure) {
        guard !replicas[index].failed else { return }
        replicas[index].failed = true
        fanOut?.end(index: index)
        if replicas[index].commits > 0 {
            replicas[index].commits = 0
            onCommitReply?(.failed(failure), index)
        } else if replicas.count(where: { !$0.failed }) <= replicas.count / 2, !isCommitting {
            onFailure?(failure)
        } else {
            updatePause()
        }
    }

    /// Reading stops while more than the window is received and not yet hashed and taken by a majority, or half as much again and not by all.
    private func updatePause() {
        guard !isEnded else { return }
        let taken = replicas.filter { !$0.failed }.map(\.acknowledged).sorted(by: >)
        let majority = replicas.count / 2 + 1
        let confirmed = min(taken.count >= majority ? taken[majority - 1] : 0, hashed)
        let window = Int64(loop.uploads.window)
        let shouldPause = received - confirmed >= window || received - (taken.last ?? 0) >= window + window / 2
        guard shouldPause != isPaused else { return }
        isPaused = shouldPause
        if !shouldPause {
            stallWatch?.cancel()
            stallWatch = nil
        } else if stallWatch == nil, !isWhole {
            watchStalls()
        }
        onPause?(shouldPause)
    }

    private func watchStalls() {
        let before = replicas.map(\.acknowledged)
        stallWatch = loop.eventLoop.assumeIsolated().scheduleTask(in: loop.limits.uploadStall) { [weak self] in
            guard let self, !self.isEnded else { return }
            self.stallWatch = nil
            self.giveUpStalled(since: before)
            if self.isPaused, !self.isWhole, !self.isEnded { self.watchStalls() }
        }
    }

    /// Without a majority that has all there is, nobody waits for one replica alone: the deadlines decide then.
    private func giveUpStalled(since before: [Int64]) {
        let whole = replicas.count { !$0.failed && $0.acknowledged == sent }
        guard isPaused, whole > replicas.count / 2 else { return }
        for index in replicas.indices
        where !isEnded && !replicas[index].failed && replicas[index].acknowledged < sent
            && replicas[index].acknowledged == before[index]
        {
            fail(index, StorageFailure(.busy, "it holds up the other replicas"))
        }
    }
}

extension StorageFailure {
    fileprivate init(unexpected reply: StorageReply) {
        if case .failed(let failure) = reply { self = failure } else { self.init(.malformed, "unexpected reply") }
    }
}
