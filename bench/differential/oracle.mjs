// Answers one JSON object a line: {policies, boundary, request} -> "Allowed", "ImplicitlyDenied", "ExplicitlyDenied".
import { createInterface } from 'node:readline'
import { runUnsafeSimulation } from '@cloud-copilot/iam-simulate'

for await (const line of createInterface({ input: process.stdin })) {
  const { policies, boundary, request } = JSON.parse(line)
  const found = runUnsafeSimulation(
    {
      request: {
        principal: 'arn:aws:iam::111122223333:role/ci-deploy',
        action: request.action,
        resource: { resource: request.resource, accountId: '111122223333' },
        contextVariables: request.context
      },
      identityPolicies: policies.map((policy, index) => ({ name: `p${index}`, policy })),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      permissionBoundaryPolicies: boundary ? [{ name: 'boundary', policy: boundary }] : undefined
    },
    {}
  )
  process.stdout.write(JSON.stringify(found) + '\n')
}
