-- What wrk asks for. Arguments after `--` as key=value:
--   op     put: new names | get: names of the key set | overwrite: likewise, written | static: `base` itself
--          fill: writes the key set, from `start` on | walk: reads it, likewise
--   base   path of the container, such as /v1/AUTH_bench/keys
--   token  X-Auth-Token (optional)
--   keys   size of the key set (get, overwrite)
--   size   bytes of a body (put, fill, overwrite)
--   seed   makes the new names of this run its own (put)
--   start, limit, threads   first key, keys of each thread, number of threads (fill, walk); `limit` also with overwrite
--   expires   seconds after which what is written ceases to be (optional)
--   think  milliseconds that a client lets pass before a request, on average (optional)
local threads = {}
function setup(thread)
  thread:set("id", #threads)
  threads[#threads + 1] = thread
end

local cfg, body, headers = {}, nil, {}
local limit = 0
n, good, bad = 0, 0, 0

function init(args)
  for _, argument in ipairs(args) do
    local key, value = argument:match("^(%w+)=(.*)$")
    if key then cfg[key] = value end
  end
  math.randomseed(id * 7919 + os.time())
  for _, key in ipairs({ "keys", "size", "start", "threads" }) do cfg[key] = tonumber(cfg[key] or 0) end
  local bytes = {}
  for i = 1, cfg.size do bytes[i] = string.char(math.random(0, 255)) end
  body = table.concat(bytes)
  if cfg.token and cfg.token ~= "" then headers["X-Auth-Token"] = cfg.token end
  if cfg.size > 0 then headers["Content-Type"] = "application/octet-stream" end
  if cfg.expires then headers["X-Delete-After"] = cfg.expires end
  if cfg.think then
    -- By chance, or all clients would go on at once.
    local most = 2 * tonumber(cfg.think)
    delay = function() return math.random(0, most) end
  end
  if cfg.limit then
    limit = tonumber(cfg.limit)
    -- Only a bounded run looks at each answer: it costs the generator time.
    response = function(status)
      if status >= 200 and status < 300 then good = good + 1 else bad = bad + 1 end
      if good + bad >= limit then wrk.thread:stop() end
    end
  end
end

local ops = {}
-- A multiplicative hash spreads consecutive counters over the name space.
function ops.put()
  n = n + 1
  local spread = (n * 2654435761 + id * 40503) % 4294967296
  return wrk.format("PUT", string.format("%s/%08x-%s-%d-%d", cfg.base, spread, cfg.seed, id, n), headers, body)
end
function ops.get()
  return wrk.format("GET", string.format("%s/obj-%08d", cfg.base, math.random(0, cfg.keys - 1)), headers)
end
function ops.overwrite()
  return wrk.format("PUT", string.format("%s/obj-%08d", cfg.base, math.random(0, cfg.keys - 1)), headers, body)
end
function ops.static() return wrk.format("GET", cfg.base, headers) end
local function next_key()
  local key = cfg.start + n * cfg.threads + id
  if n < limit - 1 then n = n + 1 end
  return string.format("%s/obj-%08d", cfg.base, key)
end
function ops.fill() return wrk.format("PUT", next_key(), headers, body) end
function ops.walk() return wrk.format("GET", next_key(), headers) end

local probed = false
function request()
  -- wrk calls this once before the run, on the first thread, to look at the shape of a request.
  if id == 0 and not probed then
    probed = true
    return wrk.format("HEAD", cfg.base, headers)
  end
  return ops[cfg.op]()
end

function done(summary, latency, _)
  local g, b, counts = 0, 0, {}
  for i, thread in ipairs(threads) do
    counts[i] = tostring(thread:get("n"))
    g, b = g + thread:get("good"), b + thread:get("bad")
  end
  local e = summary.errors
  io.write(string.format(
    '@@{"requests":%d,"seconds":%.6f,"errors":%d,"bad_status":%d,"p50_ms":%.3f,"p99_ms":%.3f,"good":%d,"bad":%d,"n":[%s]}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, g, b, table.concat(counts, ",")))
end
