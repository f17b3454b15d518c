import DeviceLog
import NIOCore
import NIOPosix
import StorageWire

extension ObjectServer {
    func openUpload(_ open: OpenUpload, call: ServerCall) {
        guard let log = device(open.address.device, call: call) else { return }
        do throws(DeviceLogError) {
            let blob = try log.stageBlob(expectedLength: open.expectedLength >= 0 ? open.expectedLength : nil)
            call.session = Upload(server: self, log: log, blob: blob, address: open.address, call: call)
            call.reply(.accepted(bytes: 0))
        } catch {
            call.reply(.failed(StorageFailure(error)))
        }
    }
}

/// A large body that streams in: its bytes go to a staged file on worker threads, one job at a time, and become an object at the commit.
///
/// Unchecked: bound to the call's event loop; the staged file is in the hands of one worker at a time.
final class Upload: @unchecked Sendable {
    private let server: ObjectServer
    private let log: DeviceLog
    private let blob: StagedBlob
    private let address: ObjectAddress
    private unowned let call: ServerCall
    private var waiting: [ByteBuffer] = []
    private var pendingCommit: CommitUpload?
    private var isWorking = false
    private var isSealed = false
    private var isStored = false
    private var isAbandoned = false
    private var failure: StorageFailure?

    init(server: ObjectServer, log: DeviceLog, blob: StagedBlob, address: ObjectAddress, call: ServerCall) {
        self.server = server
        self.log = log
        self.blob = blob
        self.address = address
        self.call = call
    }

    func append(_ bytes: ByteBuffer) {
        guard pendingCommit == nil, !isSealed else {
            return call.reply(.failed(StorageFailure(.malformed, "a chunk after the commit")))
        }
        waiting.append(bytes)
        work()
    }

    func commit(_ commit: CommitUpload) {
        guard pendingCommit == nil, !isStored else {
            return call.reply(.failed(StorageFailure(.malformed, "a commit is under way")))
        }
        pendingCommit = commit
        work()
    }

    /// The caller is gone: what was staged is removed, after the job that may be writing it.
    func abandon() {
        isAbandoned = true
        waiting.removeAll()
        discardIfIdle()
    }

    private func discardIfIdle() {
        guard isAbandoned, !isWorking, !isStored, pendingCommit == nil || !isSealed else { return }
        let blob = blob
        server.workers.submit { _ in blob.discard() }
    }

    private func work() {
        guard !isWorking, !isAbandoned else { return }
        if let failure {
            // Every message gets an answer, the ones behind a failed write too.
            for _ in waiting { call.reply(.failed(failure)) }
            waiting.removeAll()
            if pendingCommit != nil {
                pendingCommit = nil
                call.reply(.failed(failure))
            }
            return
        }
        if !waiting.isEmpty { return appendWaiting() }
        guard let commit = pendingCommit else { return }
        if isSealed { submit(commit) } else { seal() }
    }

    private func appendWaiting() {
        let chunks = waiting
        waiting = []
        run({ blob in for chunk in chunks { try blob.append(chunk) } }) { [self] failure in
            for chunk in chunks {
                call.reply(failure.map { .failed($0) } ?? .accepted(bytes: chunk.readableBytes))
            }
        }
    }

    private func seal() {
        run({ blob in try blob.seal() }) { [self] failure in isSealed = failure == nil }
    }

    private func run(
        _ job: @escaping @Sendable (StagedBlob) throws -> Void, then finish: @escaping (StorageFailure?) -> Void
    ) {
        isWorking = true
        let blob = blob
        let eventLoop = call.eventLoop
        let bound = NIOLoopBound((self, call, finish), eventLoop: eventLoop)
        server.workers.submit { _ in
            var failure: StorageFailure?
            do { try job(blob) } catch {
                failure = (error as? DeviceLogError).map { StorageFailure($0) } ?? StorageFailure(.io, "\(error)")
            }
            let result = failure
            eventLoop.execute {
                let (upload, _, finish) = bound.value
                upload.isWorking = false
                if upload.isAbandoned { return upload.discardIfIdle() }
                if let result { upload.failure = result }
                finish(result)
                upload.work()
            }
        }
    }

    private func submit(_ commit: CommitUpload) {
        let write = Write.put(
            ObjectKey(policy: address.policy, hash: address.hash), timestamp: commit.timestamp.rawValue,
            metadata: commit.head, body: .blob(blob), condition: commit.condition == .ifAbsent ? .ifAbsent : .none)
        let completion = ObjectWrite(
            server: server, log: log, call: call, sink: server.sinks.sink(for: call.eventLoop),
            timestamp: commit.timestamp, row: commit.row, source: .head(commit.head, policy: address.policy))
        // The write outlives a caller that goes away now: its outcome decides whether the file is an object's.
        completion.onReply = { [self, call] reply in
            pendingCommit = nil
            if case .stored = reply { isStored = true }
            call.reply(reply)
            discardIfIdle()
        }
        log.submit(write, completion: completion)
    }
}
