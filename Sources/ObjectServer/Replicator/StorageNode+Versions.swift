import NIOCore
import Ring
import StorageWire

extension StorageNode {
    /// Asks what a device has of some partitions. A node of version 2 of the wire is asked for one range after the other, and its answers are put
    /// together. On the event loop; never fails.
    func versions(
        _ query: VersionQuery, within time: TimeAmount, on eventLoop: any EventLoop
    ) -> EventLoopFuture<StorageReply> {
        ask(.replication(.versions(query)), within: time, on: eventLoop).flatMap { reply in
            guard case .failed(let failure) = reply, failure.reason == .unsupported else {
                return eventLoop.makeSucceededFuture(reply)
            }
            let nothing = VersionPage(versions: [], isWhole: true)
            return self.versions(in: query.ranges[...], of: query, behind: nothing, within: time, on: eventLoop)
        }
    }

    private func versions(
        in ranges: ArraySlice<HashRange>, of query: VersionQuery, behind page: VersionPage, within time: TimeAmount,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<StorageReply> {
        var page = page
        page.isWhole = ranges.isEmpty
        guard let range = ranges.first, page.versions.count < query.limit else {
            return eventLoop.makeSucceededFuture(.replication(.versions(page)))
        }
        let part = RangeQuery(
            device: query.device, policy: query.policy, range: range, limit: query.limit - page.versions.count)
        return ask(.replication(.range(part)), within: time, on: eventLoop).flatMap { [page] reply in
            guard case .replication(.versions(let more)) = reply else { return eventLoop.makeSucceededFuture(reply) }
            var page = page
            page.versions += more.versions
            guard more.isWhole else { return eventLoop.makeSucceededFuture(.replication(.versions(page))) }
            return self.versions(in: ranges.dropFirst(), of: query, behind: page, within: time, on: eventLoop)
        }
    }
}
