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
    private var blob: StagedBlob
    private let address: ObjectAddress
    private unowned let call: ServerCall
    private var waiting: [ByteBuffer] = []
    /// Commits that have had no answer, the oldest first.
    private var commits: [CommitUpload] = []
    /// The oldest commit is on its way through the log.
    private var isCommitting = false
    private var isWorking = false
    private var isSealed = false
    /// When the bytes became an object: they are the log's from then on.
    private var stored: Timestamp?
    private var isAbandoned = false
    private var failure: StorageFailure?

    /// Commits that may wait for each other: the proxy sends a further one when another replica holds something newer.
    private static let maximumCommits = 8

    init(server: ObjectServer, log: DeviceLog, blob: StagedBlob, address: ObjectAddress, call: ServerCall) {
        self.server = server
        self.log = log
        self.blob = blob
        self.address = address
        self.call = call
    }

    func append(_ bytes: ByteBuffer) {
        guard commits.isEmpty, !isSealed else {
            return call.reply(.failed(StorageFailure(.malformed, "a chunk after the commit")))
        }
        waiting.append(bytes)
        work()
    }

    func commit(_ commit: CommitUpload) {
        guard commits.count < Self.maximumCommits else {
            return call.reply(.failed(StorageFailure(.malformed, "too many commits are under way")))
        }
        commits.append(commit)
        work()
    }

    /// The caller is gone: what was staged is removed, after the job that may be writing it.
    func abandon() {
        isAbandoned = true
        waiting.removeAll()
        discardIfIdle()
    }

    /// A commit that the log has outlives its caller: its outcome decides whether the file is an object's.
    private func discardIfIdle() {
        guard isAbandoned, !isWorking, !isCommitting, stored == nil else { return }
        let blob = blob
        server.workers.submit { _ in blob.discard() }
    }

    private func work() {
        guard !isWorking, !isCommitting, !isAbandoned else { return }
        if let failure {
            // Every message gets an answer, the ones behind a failed write too.
            for _ in 0..<waiting.count + commits.count { call.reply(.failed(failure)) }
            waiting.removeAll()
            commits.removeAll()
            return
        }
        if !waiting.isEmpty { return appendWaiting() }
        guard let commit = commits.first else { return }
        if let stored {
            restage(storedAt: stored)
        } else if isSealed {
            submit(commit)
        } else {
            seal()
        }
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

    /// The bytes are an object of an earlier time already: a later one needs a file of its own.
    private func restage(storedAt timestamp: Timestamp) {
        do throws(DeviceLogError) {
            blob = try log.stageBlob(expectedLength: blob.length)
        } catch {
            failure = StorageFailure(error)
            return work()
        }
        stored = nil
        isSealed = false
        let key = ObjectKey(policy: address.policy, hash: address.hash)
        run({ [log] blob in
            guard case .live(let object) = try log.object(key, mayBlock: true),
                object.dataTimestamp == timestamp.rawValue, case .blob(let reader) = object.body
            else { throw DeviceLogError.closed }
            var offset: Int64 = 0
            while offset < reader.length {
                let piece = try reader.read(offset: offset, length: UploadChunk.maximumChunk, mayBlock: true)
                try blob.append(piece)
                offset += Int64(piece.readableBytes)
            }
            try blob.seal()
        }) { [self] failure in isSealed = failure == nil }
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
        guard
            let row = ContainerRow.make(
                .head(commit.head, policy: address.policy), for: commit.row, timestamp: commit.timestamp)
        else {
            failure = StorageFailure(.malformed, "the head can't be read")
            return work()
        }
        guard server.device(address, row: commit.row, call: call) != nil else {
            commits.removeFirst()
            return work()
        }
        let key = ObjectKey(policy: address.policy, hash: address.hash)
        ExpiryIndex.note(
            commit.head, of: key, timestamp: commit.timestamp.rawValue, in: log, server, on: call.eventLoop)
        let write = Write.put(
            key, timestamp: commit.timestamp.rawValue,
            metadata: commit.head, body: .blob(blob), condition: commit.condition == .ifAbsent ? .ifAbsent : .none)
        let completion = ObjectWrite(
            server: server, log: log, call: call, timestamp: commit.timestamp,
            row: row)
        completion.onReply = { [self, call] reply in
            isCommitting = false
            if case .stored = reply { stored = commit.timestamp }
            commits.removeFirst()
            call.reply(reply)
            if isAbandoned { discardIfIdle() } else { work() }
        }
        isCommitting = true
        log.submit(write, completion: completion)
    }
}
