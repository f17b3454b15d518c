package import NIOCore

/// The body of an object put.
package enum WriteBody: Sendable {
    /// At most `Configuration.maximumInlineBody` bytes.
    case inline(ByteBuffer)
    /// Must be sealed.
    case blob(StagedBlob)
}

/// What must hold for an object put, beside being newer.
package enum WriteCondition: Sendable {
    case none
    /// No live object; a tombstone counts as absent.
    case ifAbsent
}

/// One change, queued by `DeviceLog.submit` and decided on the commit stream.
package enum Write: Sendable {
    case put(ObjectKey, timestamp: UInt64, metadata: ByteBuffer, body: WriteBody, condition: WriteCondition = .none)
    /// Leaves a tombstone, also when nothing is there. Its metadata tells what else the deletion has to reach.
    case delete(ObjectKey, timestamp: UInt64, metadata: ByteBuffer = ByteBuffer())
    /// Replaces the metadata of the live object whose body came at `baseDataTimestamp`.
    case updateMetadata(ObjectKey, timestamp: UInt64, baseDataTimestamp: UInt64, metadata: ByteBuffer)
    /// The newest record of another replica: body, and metadata that may be newer. Also in place of a damaged copy of the same time.
    case restore(ObjectKey, timestamp: UInt64, dataTimestamp: UInt64, metadata: ByteBuffer, body: WriteBody)
    /// Gives up the record of this time, which the devices that it belongs to have. Leaves nothing, no tombstone either.
    case evict(ObjectKey, timestamp: UInt64)
    case row(TableKey, Row)
    /// Read, change and write of a table's info; the transform runs on the commit stream, so it must be quick.
    case tableInfo(TableKey, transform: @Sendable (ByteBuffer?, TableStats) -> TableDecision)
    /// Something to do later; `DeviceLog.pendingUpdates` lists it until `pendingDone`.
    case pending(payload: ByteBuffer)
    case pendingDone(id: UInt64)
}

/// How a write ended. Everything but `.failed` is durable or changed nothing.
package enum WriteOutcome: Sendable, Equatable {
    /// Durable. Also for a repetition (the same timestamp and kind as the newest record).
    case stored(position: LogPosition)
    /// A newer record is there.
    case superseded(newest: UInt64)
    /// A metadata update met no live object.
    case missing
    /// A metadata update met an object whose body came at another time.
    case baseMismatch(newest: UInt64)
    case conditionFailed(newest: UInt64)
    /// By the transform of `Write.tableInfo`.
    case refused(code: UInt16)
    case failed(DeviceLogError)
}

/// Receives the outcomes of writes; one object per write or one for many, as the caller likes.
package protocol WriteCompletion: AnyObject, Sendable {
    /// Through which the outcome comes back, such as the event loop of the request.
    var sink: any CompletionSink { get }
    /// For sinks that hand a write back to whoever made it (`EventLoopSink`).
    func completed(_ outcome: WriteOutcome)
}

extension WriteCompletion {
    /// Nobody waits: the sink keeps the outcomes itself.
    package func completed(_ outcome: WriteOutcome) {}
}

/// Takes the finished writes of a batch, all that belong to it in one call.
package protocol CompletionSink: AnyObject, Sendable {
    /// Called on the commit stream: hand over (`eventLoop.execute`) and return.
    func deliver(_ finished: [FinishedWrite])
}

/// A write and how it ended.
package struct FinishedWrite: Sendable {
    package let completion: any WriteCompletion
    package let outcome: WriteOutcome
}
