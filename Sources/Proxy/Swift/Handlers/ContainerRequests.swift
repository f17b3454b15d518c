import Access
import HTTPServer
import NIOCore
import Ring
import StorageWire

/// GET and HEAD of a container.
final class ContainerRead: SwiftRequest {
    override func run() {
        guard let account, let container else { return fail(SwiftError(404)) }
        let target = TableTarget(cluster: loop.cluster, account: account, container: container)
        do throws(SwiftError) {
            let query = try ListingQuery(
                try parameters(), accept: head.value(of: "accept"), kind: .container, constraints: api.constraints)
            if head.method == .head { return readState(target, query) }
            TableListing.run(loop, target, query.list(target)) { [self] outcome in
                switch outcome {
                case .unavailable(let failure): fail(failure)
                case .page(let state, let count, let entries): list(state, count, entries, query)
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
                guard state.isLive, let table = state.head else { return fail(SwiftError(404)) }
                var headers = headers(of: table, state)
                headers.append("Content-Type", query.format.contentType)
                respond(.noContent, headers)
            }
        }
    }

    private func list(_ state: TableState, _ count: Int, _ entries: ByteBuffer, _ query: ListingQuery) {
        guard state.isLive, let table = state.head else { return fail(SwiftError(404)) }
        var renderer = ListingRenderer(.container, named: table.container, format: query.format)
        var body = ByteBuffer()
        body.reserveCapacity(64 + count * 192)
        renderer.begin(into: &body)
        let readable = ListingQuery.forEachEntry(of: entries) { entry in
            switch entry {
            case .subdirectory(let name): renderer.subdir(name, into: &body)
            case .row(let row):
                let value = try? ObjectRowValue(decoding: row.value)
                renderer.object(
                    name: row.name, hash: ByteText.hex(value?.etag ?? []), bytes: UInt64(clamping: row.bytes),
                    contentType: value?.contentType ?? [], lastModified: row.timestamp.ticks, into: &body)
            }
        }
        guard readable else { return fail(StorageFailure(.corrupt, "a listing can't be read")) }
        renderer.end(into: &body)
        var headers = headers(of: table, state)
        headers.append("Content-Type", query.format.contentType)
        if query.variesWithAccept { headers.append("Vary", "Accept") }
        let status = ListingRenderer.status(format: query.format, isEmpty: count == 0)
        respond(HTTPStatus(rawValue: UInt16(status)), headers, body: status == 204 ? nil : body)
    }

    private func headers(of table: TableHead, _ state: TableState) -> ResponseHeaders {
        facts = ContainerFacts(
            of: loop.cluster.hasher.hash(account: table.account, container: table.container), head: table)
        var headers = headers(capacity: 768)
        headers.append("X-Container-Object-Count", state.rows)
        headers.append("X-Container-Bytes-Used", state.bytes)
        headers.append("X-Timestamp", bytes: SwiftTimestamp.header(table.created.ticks))
        headers.append("X-Put-Timestamp", bytes: SwiftTimestamp.header(table.put.ticks))
        headers.append("Last-Modified", bytes: SwiftTimestamp.lastModified(table.put.ticks))
        headers.append("X-Storage-Policy", api.policyName(table.policy))
        headers.append("Accept-Ranges", "bytes")
        for item in table.items where isOwner || !OwnerHeaders.contains(item.name) { headers.append(item) }
        return headers
    }
}

/// PUT and POST of a container.
final class ContainerWrite: SwiftRequest {
    override func run() {
        guard let account, let container else { return fail(SwiftError(404)) }
        do throws(SwiftError) {
            let rights = MetadataUpdate.Rights(
                isOwner: isOwner, isResellerAdmin: identity()?.isResellerAdmin ?? false)
            let update = try MetadataUpdate(container: head, rights: rights, constraints: api.constraints)
            var policy = UpdateTable.anyPolicy
            if let name = update.storagePolicy, head.method == .put {
                guard let named = api.policy(named: name) else {
                    throw SwiftError(400, text: Array("Invalid X-Storage-Policy '".utf8) + name + Array("'".utf8))
                }
                policy = named.index
            }
            guard !container.contains(UInt8(ascii: "/")) else { throw SwiftError(400) }
            let target = TableTarget(cluster: loop.cluster, account: account, container: container)
            TableRead.run(loop, target) { [self] outcome in
                switch outcome {
                case .unavailable(let failure): fail(failure)
                case .state(let state): apply(update, policy, to: target, state)
                }
            }
        } catch {
            fail(error)
        }
    }

    private func apply(_ update: MetadataUpdate, _ policy: UInt8, to target: TableTarget, _ state: TableState) {
        do throws(SwiftError) {
            let stored = state.isLive ? state.head?.items ?? [] : []
            _ = try update.applied(to: stored, constraints: api.constraints)
            if head.method == .post, !state.isLive { throw SwiftError(404) }
            if head.method == .put, !state.isLive {
                return makeAccount(then: { self.write(update, policy, to: target) })
            }
            write(update, policy, to: target)
        } catch {
            fail(error)
        }
    }

    /// The account comes into being with its first container.
    private func makeAccount(then next: @escaping () -> Void) {
        guard let account else { return }
        let target = TableTarget(cluster: loop.cluster, account: account)
        TableRead.run(loop, target) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .state(let state):
                if state.isLive { return next() }
                TableChanges.update(
                    loop, target, creates: true, policy: UpdateTable.anyPolicy, metadata: []
                ) { [self] outcome in
                    switch outcome {
                    case .stored: next()
                    case .deleted, .missing, .notEmpty, .policyConflict: fail(SwiftError(404))
                    case .unavailable(let failure): fail(failure)
                    }
                }
            }
        }
    }

    private func write(_ update: MetadataUpdate, _ policy: UInt8, to target: TableTarget) {
        let isPut = head.method == .put
        TableChanges.update(loop, target, creates: isPut, policy: policy, metadata: update.stored) {
            [self] outcome in
            api.facts.remove(target.hash)
            switch outcome {
            case .stored(let timestamp, let created):
                guard isPut, created else { return done(isPut ? .accepted : .noContent) }
                list(target, policy == UpdateTable.anyPolicy ? api.cluster.defaultPolicy.index : policy, timestamp)
            case .policyConflict(let existing):
                fail(SwiftError(409, "Container has storage policy '\(api.policyName(existing))'"))
            case .missing, .deleted, .notEmpty: fail(SwiftError(404))
            case .unavailable(let failure): fail(failure)
            }
        }
    }

    private func list(_ target: TableTarget, _ policy: UInt8, _ timestamp: Timestamp) {
        let account = TableTarget(cluster: loop.cluster, account: target.account)
        TableChanges.list(loop, target.container, policy: policy, in: account, at: timestamp, deleted: false) {
            [self] outcome in
            if case .unavailable(let failure) = outcome { return fail(failure) }
            done(.created)
        }
    }

    private func done(_ status: HTTPStatus) {
        var headers = headers()
        headers.append("Content-Type", "text/html; charset=UTF-8")
        let text = status == .accepted ? SwiftErrorBody.html(202) : []
        respond(status, headers, body: status == .noContent ? nil : ByteBuffer(bytes: text))
    }
}

/// DELETE of a container that is empty.
final class ContainerDelete: SwiftRequest {
    override func run() {
        guard let account, let container else { return fail(SwiftError(404)) }
        let target = TableTarget(cluster: loop.cluster, account: account, container: container)
        TableRead.run(loop, target) { [self] outcome in
            switch outcome {
            case .unavailable(let failure): fail(failure)
            case .state(let state):
                guard state.isLive else { return fail(SwiftError(404)) }
                guard state.rows == 0 else { return fail(Self.notEmpty) }
                delete(target, policy: state.head?.policy ?? UpdateTable.anyPolicy)
            }
        }
    }

    private static let notEmpty = SwiftError(409)

    private func delete(_ target: TableTarget, policy: UInt8) {
        TableChanges.delete(loop, target, policy: policy) { [self] outcome in
            api.facts.remove(target.hash)
            switch outcome {
            case .stored(let timestamp, _): unlist(target, timestamp)
            case .missing, .deleted: fail(SwiftError(404))
            case .notEmpty, .policyConflict: fail(Self.notEmpty)
            case .unavailable(let failure): fail(failure)
            }
        }
    }

    private func unlist(_ target: TableTarget, _ timestamp: Timestamp) {
        let account = TableTarget(cluster: loop.cluster, account: target.account)
        TableChanges.list(loop, target.container, policy: 0, in: account, at: timestamp, deleted: true) {
            [self] outcome in
            if case .unavailable(let failure) = outcome { return fail(failure) }
            var headers = headers()
            headers.append("Content-Type", "text/html; charset=UTF-8")
            respond(.noContent, headers)
        }
    }
}
