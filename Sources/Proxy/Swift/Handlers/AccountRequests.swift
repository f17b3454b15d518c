import Access
import HTTPServer
import NIOCore
import StorageWire

/// GET and HEAD of an account. One that was never written is an empty one to its owner.
final class AccountRead: SwiftRequest {
    override func run() {
        guard let account else { return fail(SwiftError(404)) }
        let target = TableTarget(cluster: loop.cluster, account: account)
        do throws(SwiftError) {
            let query = try ListingQuery(
                try parameters(), accept: head.value(of: "accept"), kind: .account, constraints: api.constraints)
            if head.method == .head { return readState(target, query) }
            TableListing.run(loop, target, query.list(target)) { [self] outcome in
                switch outcome {
                case .unavailable(let failure): fail(failure)
                case .page(let state, let count, let entries):
                    guard !state.isRefusedAccount(at: timestampNow) else { return refuse(.gone) }
                    list(account, state, count, entries, query)
                }
            }
        } catch {
            fail(error)
        }
    }

    private func readState(_ target: TableTarget, _ query: ListingQuery) {
        TableRead.run(loop, target) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .state(let state):
                guard !state.isRefusedAccount(at: timestampNow) else { return refuse(.gone) }
                var headers = headers(of: state)
                headers.append("Content-Type", query.format.contentType)
                respond(.noContent, headers)
            }
        }
    }

    private func list(
        _ account: [UInt8], _ state: TableState, _ count: Int, _ entries: ByteBuffer, _ query: ListingQuery
    ) {
        var renderer = ListingRenderer(.account, named: account, format: query.format)
        var body = ByteBuffer()
        body.reserveCapacity(64 + count * 160)
        renderer.begin(into: &body)
        let readable = ListingQuery.forEachEntry(of: entries) { entry in
            switch entry {
            case .subdirectory(let name): renderer.subdir(name, into: &body)
            case .row(let row):
                let put = (try? ContainerRowValue(decoding: row.value))?.put ?? row.timestamp
                renderer.container(
                    name: row.name, count: UInt64(clamping: row.count), bytes: UInt64(clamping: row.bytes),
                    lastModified: put.ticks, policy: Array(api.policyName(row.policy).utf8), into: &body)
            }
        }
        guard readable else { return fail(StorageFailure(.corrupt, "a listing can't be read")) }
        renderer.end(into: &body)
        var headers = headers(of: state)
        headers.append("Content-Type", query.format.contentType)
        if query.variesWithAccept { headers.append("Vary", "Accept") }
        let status = ListingRenderer.status(format: query.format, isEmpty: count == 0)
        respond(HTTPStatus(rawValue: UInt16(status)), headers, body: status == 204 ? nil : body)
    }

    private func headers(of state: TableState) -> ResponseHeaders {
        var headers = headers(capacity: 768)
        headers.append("X-Account-Container-Count", state.rows)
        headers.append("X-Account-Object-Count", state.count)
        headers.append("X-Account-Bytes-Used", state.bytes)
        let created = state.head?.created ?? loop.timestamps.next()
        headers.append("X-Timestamp", bytes: SwiftTimestamp.header(created.ticks))
        headers.append("X-Put-Timestamp", bytes: SwiftTimestamp.header((state.head?.put ?? created).ticks))
        headers.append("Accept-Ranges", "bytes")
        for sum in state.sums {
            let prefix = "X-Account-Storage-Policy-" + api.policyName(sum.policy) + "-"
            for (suffix, value) in [
                ("Container-Count", sum.rows), ("Object-Count", sum.count), ("Bytes-Used", sum.bytes),
            ] {
                headers.append(MetadataItem(prefix + suffix, "\(value)"))
            }
        }
        for item in state.head?.items ?? [] where isOwner || !OwnerHeaders.contains(item.name) { headers.append(item) }
        return headers
    }
}

/// PUT and POST of an account: metadata. Makes the account when it is not there.
final class AccountWrite: SwiftRequest {
    override func run() {
        guard let account else { return fail(SwiftError(404)) }
        do throws(SwiftError) {
            let rights = MetadataUpdate.Rights(
                isOwner: isOwner, isResellerAdmin: identity()?.isResellerAdmin ?? false)
            let update = try MetadataUpdate(account: head, rights: rights, constraints: api.constraints)
            let target = TableTarget(cluster: loop.cluster, account: account)
            TableRead.run(loop, target) { [self] outcome in
                switch outcome {
                case .unavailable(let failure): fail(failure)
                case .state(let state):
                    guard !state.isRefusedAccount(at: timestampNow) else { return refuseDeleted() }
                    apply(update, to: target, state)
                }
            }
        } catch {
            fail(error)
        }
    }

    private func apply(_ update: MetadataUpdate, to target: TableTarget, _ state: TableState) {
        do throws(SwiftError) {
            _ = try update.applied(to: state.head?.items ?? [], constraints: api.constraints)
            TableChanges.update(
                loop, target, creates: true, policy: UpdateTable.anyPolicy, metadata: update.stored
            ) { [self] outcome in
                switch outcome {
                case .stored(_, let created): done(created: created)
                case .deleted: refuseDeleted()
                case .unavailable(let failure): fail(failure)
                case .missing, .notEmpty, .policyConflict: fail(SwiftError(404))
                }
            }
        } catch {
            fail(error)
        }
    }

    private func done(created: Bool) {
        var headers = headers()
        headers.append("Content-Type", "text/html; charset=UTF-8")
        guard head.method == .put else { return respond(.noContent, headers) }
        let status = created ? HTTPStatus.created : .accepted
        respond(status, headers, body: ByteBuffer(bytes: created ? [] : SwiftErrorBody.html(202)))
    }

    private func refuseDeleted() { refuse(head.method == .put ? .forbidden : .notFound) }
}

/// DELETE of an account, with all that is in it: nothing answers from now on, and the reaper removes it.
final class AccountDelete: SwiftRequest {
    override func run() {
        guard let account else { return fail(SwiftError(404)) }
        // Same as OpenStack Swift: a query was meant for something else that a DELETE can do, and not for all there is.
        guard SwiftPath.query(of: head.pathAndQuery).isEmpty else { return fail(SwiftError(400)) }
        let target = TableTarget(cluster: loop.cluster, account: account)
        TableRead.run(loop, target) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .state(let state):
                guard !state.isRefusedAccount(at: timestampNow) else { return refuse(.notFound) }
                guard state.isLive else { return fail(SwiftError(404)) }
                delete(target)
            }
        }
    }

    private func delete(_ target: TableTarget) {
        TableChanges.delete(loop, target) { [self] outcome in
            api.facts.removeAll()
            switch outcome {
            case .stored:
                var headers = headers()
                headers.append("Content-Type", "text/html; charset=UTF-8")
                respond(.noContent, headers)
            case .unavailable(let failure): fail(failure)
            case .missing, .deleted, .notEmpty, .policyConflict: fail(SwiftError(404))
            }
        }
    }
}

extension SwiftRequest {
    /// The answer of an account that is deleted and can't be made again yet: with which status depends on what was asked, as in OpenStack Swift.
    fileprivate func refuse(_ status: HTTPStatus) {
        var headers = headers()
        headers.append("Content-Type", "text/plain; charset=UTF-8")
        headers.append("X-Account-Status", "Deleted")
        respond(status, headers, body: ByteBuffer(string: "Recently deleted"))
    }
}

extension MetadataUpdate {
    /// As the wire takes it: an empty value removes.
    var stored: [ObjectHead.Header] {
        changes.map { ObjectHead.Header(name: $0.name, value: $0.value ?? []) }
    }
}

extension ListingQuery {
    /// The question to the replicas of a table.
    func list(_ target: TableTarget) -> ListTable {
        var list = ListTable(
            table: target.address(target.primaries.first ?? 0), limit: limit, marker: marker, endMarker: endMarker,
            prefix: prefix, delimiter: delimiter, reverse: isReversed)
        if let path {
            // The old style: what is directly below `path`, without the subdirectories.
            list.prefix = path.isEmpty || path.last == UInt8(ascii: "/") ? path : path + [UInt8(ascii: "/")]
            list.delimiter = [UInt8(ascii: "/")]
            list.omitsSubdirectories = true
        }
        return list
    }

    /// False when the entries can't be read.
    static func forEachEntry(of entries: ByteBuffer, _ body: (ListingEntry) -> Void) -> Bool {
        var reader = WireReader(entries)
        while reader.remaining > 0 {
            guard let entry = try? ListingEntry(from: &reader) else { return false }
            body(entry)
        }
        return true
    }
}
