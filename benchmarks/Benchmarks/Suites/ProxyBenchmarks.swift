import NIOCore
import Proxy

/// Listings as clients get them.
enum ProxyBenchmarks {
    static let all = [
        Benchmark("listing.json", "10,000 rows of a container") { _ in rendering(.json) },
        Benchmark("listing.xml", "10,000 rows of a container") { _ in rendering(.xml) },
    ]

    private static let rows = 10_000

    private static func rendering(_ format: ListingFormat) -> Workload {
        let names = (0..<rows).map { Array("holidays/2026/picture-\($0 + 100_000).jpg".utf8) }
        let hash = Array("9e107d9d372bb6826bd81d3542a419d6".utf8)
        let type = Array("image/jpeg".utf8)
        let container = Array("photographs".utf8)
        var buffer = ByteBuffer()
        return Workload { operations in
            var sum: UInt64 = 0
            for _ in 0..<operations {
                buffer.clear()
                var renderer = ListingRenderer(.container, named: container, format: format)
                renderer.begin(into: &buffer)
                for (number, name) in names.enumerated() {
                    // Some seconds apart, so that days change now and then.
                    renderer.object(
                        name: name, hash: hash, bytes: UInt64(number), contentType: type,
                        lastModified: 175_000_000_000_000 + UInt64(number) * 1_234_567, into: &buffer)
                }
                renderer.end(into: &buffer)
                sum &+= UInt64(buffer.readableBytes)
            }
            return sum
        }
    }
}
