-- POST authenticate for random users among the seeded ones.
-- Arguments: the API key, the provider, its scope, the number of users, and a text that every answer must contain
-- (without it only the status is looked at, which costs less while it is measured).

local headers, provider, scope, users, expected

function init(args)
   headers = { ["x-api-key"] = args[1], ["content-type"] = "application/json" }
   provider, scope, users, expected = args[2], args[3], tonumber(args[4]), args[5]
   math.randomseed(os.time())
   if expected then response = look_into end
end

function request()
   local user = math.random(0, users - 1)
   local body = ('{"provider":"%s","scopes":["%s"],"user_id":"user-%d"}'):format(provider, scope, user)
   return wrk.format("POST", nil, headers, body)
end

function look_into(status, _, body)
   if status ~= 200 or not body:find(expected, 1, true) then
      io.stderr:write(("wrong answer, %d: %s\n"):format(status, body))
      os.exit(1)
   end
end

function done(summary, latency)
   local errors = summary.errors
   local failures = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(("figures %d %d %d %d %d\n"):format(
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failures))
end
