package import NIOCore
package import StorageWire

/// Pulls a range of a large body piece by piece, a window ahead of who takes it, from one source after another until all has come.
///
/// Without I/O of its own: `request` asks the present source, `switchSource` finds another one. Bound to its event loop.
package final class BodyTransfer {
    /// Bytes asked for at once: a multiple of the blocks that checksums cover.
    private static let piece: Int64 = 512 << 10

    private var next: Int64
    private var received: Int64
    private let end: Int64
    private let window: Int64
    private let request: (ReadBody) -> Void
    private let switchSource: () -> Bool
    private var onChunk: ((ByteBuffer) -> Void)?
    private var onEnd: ((Bool) -> Void)?
    private var isPaused = false
    private var isWaitingForSource = false
    private var isRequesting = false

    package init(
        range: Range<Int64>, window: Int, request: @escaping (ReadBody) -> Void, switchSource: @escaping () -> Bool,
        onChunk: @escaping (ByteBuffer) -> Void, onEnd: @escaping (Bool) -> Void
    ) {
        next = range.lowerBound
        received = range.lowerBound
        end = range.upperBound
        self.window = Int64(window)
        self.request = request
        self.switchSource = switchSource
        self.onChunk = onChunk
        self.onEnd = onEnd
    }

    package func resume() {
        isPaused = false
        requestMore()
    }

    package func pause() { isPaused = true }

    package func cancel() {
        onChunk = nil
        onEnd = nil
    }

    package func received(_ bytes: ByteBuffer) {
        guard onEnd != nil, !isWaitingForSource else { return }
        received += Int64(bytes.readableBytes)
        onChunk?(bytes)
        if received >= end { finish(true) } else { requestMore() }
    }

    package func sourceFailed() {
        guard onEnd != nil else { return }
        isWaitingForSource = true
        if !switchSource() { finish(false) }
    }

    package func sourceReady() {
        guard onEnd != nil, isWaitingForSource else { return }
        isWaitingForSource = false
        next = received
        requestMore()
    }

    /// A source in this process answers within `request`: the loop is here and not in a recursion.
    private func requestMore() {
        guard !isRequesting else { return }
        isRequesting = true
        while onEnd != nil, !isPaused, !isWaitingForSource, next < end, next - received < window {
            // Pieces end on multiples of their size, so that each block is read and verified once.
            let length = min(end, (next / Self.piece + 1) * Self.piece) - next
            let offset = next
            next += length
            request(ReadBody(offset: offset, length: Int(length)))
        }
        isRequesting = false
    }

    private func finish(_ whole: Bool) {
        let onEnd = onEnd
        cancel()
        onEnd?(whole)
    }
}
