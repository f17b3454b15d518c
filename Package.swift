// swift-tools-version: 6.2
// One package, several floors: a target imports lower floors only (see Sources/README.md).
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

func target(_ name: String, _ path: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(path)", swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: settings)
}

func systemLibrary(_ name: String, _ pkgConfig: String, _ debian: String) -> Target {
    .systemLibrary(
        name: name, path: "Sources/CSystem/\(name)", pkgConfig: pkgConfig, providers: [.apt([debian])])
}

let package = Package(
    name: "ringfort",
    products: [
        .executable(name: "ringfort", targets: ["Main"]),
        .executable(name: "ringfort-bench", targets: ["Benchmarks"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // Libraries of the system
        systemLibrary("CCrypto", "libcrypto", "libssl-dev"),
        systemLibrary("CSSL", "libssl", "libssl-dev"),
        systemLibrary("CISAL", "libisal", "libisal-dev"),
        systemLibrary("CZlib", "zlib", "zlib1g-dev"),
        .target(name: "CKernel", path: "Sources/CSystem/CKernel"),

        // Floor 0
        target("Ring", "Ring", ["CCrypto", "CZlib"]),
        target("Access", "Base/Access", ["CCrypto"]),
        target("Daemon", "Base/Daemon", ["CKernel", logging]),

        // Floor 1
        target(
            "StorageWire", "StorageWire", ["Ring", "Daemon", "CCrypto", "CSSL", "CISAL", nioCore, nioPosix, logging]),
        target("DeviceLog", "DeviceLog", ["Ring", "CISAL", "CKernel", nioCore, logging]),
        target("HTTPServer", "HTTPServer", [nioCore, nioPosix, logging]),

        // Floor 2
        target(
            "ContainerServer", "ContainerServer",
            ["Ring", "Daemon", "StorageWire", "DeviceLog", nioCore, nioPosix, logging]),
        target(
            "ObjectServer", "ObjectServer",
            ["Ring", "Daemon", "StorageWire", "DeviceLog", nioCore, nioPosix, logging]),
        target("ClusterMap", "ClusterMap", ["Ring", "Daemon", "StorageWire", nioCore, logging]),
        target(
            "Proxy", "Proxy",
            ["Ring", "Access", "Daemon", "StorageWire", "HTTPServer", "CCrypto", "CISAL", nioCore, nioPosix, logging]),

        // Floor 4
        .executableTarget(
            name: "Main",
            dependencies: [
                "Ring", "Access", "Daemon", "StorageWire", "DeviceLog", "HTTPServer", "ObjectServer",
                "ContainerServer", "Proxy", "ClusterMap", "CKernel", nioCore, nioPosix, logging, arguments,
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ],
            path: "Sources/Main", swiftSettings: settings),

        // A target and not a package of its own, because `package` access ends at the package. Neither `ringfort` nor a test needs it.
        .executableTarget(
            name: "Benchmarks",
            dependencies: [
                "Ring", "Access", "Daemon", "StorageWire", "DeviceLog", "HTTPServer", "Proxy", "CCrypto", nioCore,
                nioPosix, logging, arguments,
            ],
            path: "benchmarks/Benchmarks", swiftSettings: settings),

        tests("RingTests", ["Ring"]),
        tests("AccessTests", ["Access"]),
        tests("DaemonTests", ["Daemon"]),
        tests(
            "StorageWireTests",
            [
                "StorageWire", "Ring", nioCore, nioPosix, .product(name: "NIOEmbedded", package: "swift-nio"), logging,
            ]),
        tests("DeviceLogTests", ["DeviceLog", "Ring", nioCore, logging]),
        tests("HTTPServerTests", ["HTTPServer", nioCore, nioPosix, logging]),
        tests(
            "ObjectServerTests",
            [
                "ObjectServer", "ContainerServer", "Daemon", "StorageWire", "DeviceLog", "Ring", nioCore, nioPosix,
                logging,
            ]),
        tests(
            "ContainerServerTests",
            ["ContainerServer", "StorageWire", "DeviceLog", "Ring", nioCore, nioPosix, logging]),
        tests("ClusterMapTests", ["ClusterMap", "Ring", "Daemon", "StorageWire", nioCore]),
        tests(
            "ProxyTests",
            [
                "Proxy", "Access", "Daemon", "StorageWire", "DeviceLog", "ObjectServer", "ContainerServer",
                "HTTPServer",
                "Ring", nioCore, nioPosix, logging,
            ]),
    ],
    swiftLanguageModes: [.v6]
)
