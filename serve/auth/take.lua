-- pintag.serve.auth.token_bucket.ClientState.take for Redis, with the same names. One hash has a client's counts; a
-- field "lease:REPLICA" is a lease, as "number size day lost_at". Numbers are text of 17 digits, which is exact.
local key = KEYS[1]
local now, per_second, capacity, per_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local since, replica, used, ended = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local new_lease, lease_size = tonumber(ARGV[9]), tonumber(ARGV[10])
local DAY_S, LOST_LEASE_S, LEASE_SHARE, EPSILON = 86400, tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local FIRST_COST = 14
if not now then -- Redis's clock, which all replicas share; only tests send another time
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
since = math.min(since, now)

local state, leases = {}, {}
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local name = string.match(fields[i], '^lease:(.*)$')
  if name then
    local number, size, day, lost_at = string.match(fields[i + 1], '^(%S+) (%S+) (%S+) (%S+)$')
    leases[name] = { number = tonumber(number), size = tonumber(size), day = tonumber(day), lost_at = tonumber(lost_at) }
  else
    state[fields[i]] = tonumber(fields[i + 1])
  end
end
local is_new = not state.updated
local rate, limit, quota = state.per_second, state.capacity, state.per_day
local level, used_today, updated = state.level or 0, state.used_today or 0, state.updated or now
if is_new then rate, limit, quota, state.since = per_second, capacity, per_day, since end

-- Refill the bucket since the last call; a new day resets the daily count.
local day, last_day = math.floor(now / DAY_S), math.floor(updated / DAY_S)
level = math.max(0, level - math.max(0, now - updated) * (rate or 0))
if day ~= last_day and day ~= last_day - 1 then used_today = 0 end

-- Charge the replica's last lease, and those of replicas that no longer report.
for name, lease in pairs(leases) do
  local charged
  if name == replica then
    charged = lease.number == ended and math.min(used, lease.size) or lease.size
  elseif now >= lease.lost_at then
    charged = lease.size
  end
  if charged then
    if rate then level = math.min(level + charged, math.max(level, limit)) end
    if lease.day == day then used_today = used_today + charged end
    leases[name] = nil
    redis.call('HDEL', key, 'lease:' .. name)
  end
end

-- Apply the limits, if they are not older than those that apply.
if since >= state.since then
  level = rate and per_second and math.min(level, capacity) or 0
  rate, limit, quota, state.since = per_second, capacity, per_day, since
end

local leased, leased_today = 0, 0
for _, lease in pairs(leases) do
  leased = leased + lease.size
  if lease.day == day then leased_today = leased_today + lease.size end
end
local elsewhere = leased
local function burst_left() return rate and limit - level - leased or math.huge end
local function day_left() return quota and quota - used_today - leased_today or math.huge end

local admitted = {}
for i = FIRST_COST, #ARGV do
  local cost = tonumber(ARGV[i])
  local fits = cost <= math.min(burst_left(), day_left()) + EPSILON
  if fits then
    if rate then level = level + cost end
    used_today = used_today + cost
  end
  admitted[#admitted + 1] = fits and '1' or '0'
end

local left = math.min(burst_left(), day_left())
local share = left < math.huge and math.floor(left / LEASE_SHARE) or lease_size
local size = math.max(0, math.min(lease_size, share))
local function text(number) return string.format('%.17g', number) end
if size > 0 then
  leased, leased_today = leased + size, leased_today + size
  local lease = table.concat({ text(new_lease), text(size), text(day), text(now + LOST_LEASE_S) }, ' ')
  redis.call('HSET', key, 'lease:' .. replica, lease)
end

redis.call('HSET', key, 'level', text(level), 'used_today', text(used_today), 'updated', text(now),
  'since', text(state.since), 'per_second', rate and text(rate) or '', 'capacity', text(limit),
  'per_day', quota and text(quota) or '')
-- The counts are needed until the bucket is full and the day, by any clock, is over.
local refilled_s = rate and (level + leased) / rate or 0
redis.call('EXPIRE', key, math.ceil(math.min(math.max(2 * DAY_S, refilled_s), 1e9)))
return { table.concat(admitted, ''), text(size), text(elsewhere), text(burst_left()), text(day_left()),
  text((day + 1) * DAY_S - now) }
