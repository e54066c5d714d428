// The scenario format: what `run` runs, `fuzz` finds and writes, the lab page edits and a bug report carries.
// One schema validates it and gives its type; an error names the field and what would be right there.

import * as v from 'valibot';
import { RULES, type Rule } from '../guard/index.ts';
import { describeIssue } from './errors.ts';

const KIB = 1024;
const MAX_REQUEST = 4 * KIB * KIB;

function whole(min: number, max: number, unit = '') {
  const message = `must be a whole number from ${min} to ${max}${unit === '' ? '' : ` (${unit})`}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(min, message), v.maxValue(max, message));
}

function choice<const T extends readonly string[]>(options: T) {
  return v.picklist(options, `must be ${options.map((option) => `"${option}"`).join(' or ')}`);
}

const flag = v.boolean('must be true or false');
const text = v.pipe(v.string('must be text'), v.nonEmpty('must not be empty'));
const sector = whole(0, 2 ** 45, 'sectors of the disk');
const bytes = whole(0, 2 ** 53 - 1, 'bytes');

/** One stretch of a request's user memory: where it begins in its page, and how long it is. */
const iovec = v.strictObject({
  offset: whole(0, 4095, 'bytes into the page'),
  bytes: whole(1, MAX_REQUEST, 'bytes'),
});
/** The shape of a request's memory; it is repeated until the request is covered. */
const iovecs = v.pipe(v.array(iovec), v.minLength(1, 'must have at least one element'));

const transfer = {
  /** First sector on the disk; default 0. */
  sector: v.optional(sector, 0),
  /** First byte of the input, and how many; default all. */
  offset: v.optional(bytes, 0),
  bytes: v.optional(whole(1, 2 ** 53 - 1, 'bytes')),
  /** Default: one page-aligned stretch for each request. */
  iovec: v.optional(iovecs),
  /** On Solaris: bufs of locked memory (default), or read(2) and write(2) of the raw disk. Linux has one way. */
  through: v.optional(choice(['ddi_umem_iosetup', 'physio'])),
};

const operation = v.variant(
  'op',
  [
    /** The process writes its input to the disk. */
    v.strictObject({ op: v.literal('write'), ...transfer }),
    /** It reads it back into other pages, and compares. */
    v.strictObject({ op: v.literal('read'), ...transfer }),
    v.strictObject({ op: v.literal('flush') }),
  ],
  'must be "write", "read" or "flush"',
);

const rule = choice(Object.keys(RULES) as [Rule, ...Rule[]]);

const expectation = v.strictObject({
  /** Rules that the guard must report, and no others. */
  findings: v.optional(v.array(rule), []),
  /** How many requests must fail, with an error or by time-out; default none. */
  failedRequests: v.optional(whole(0, 2 ** 31)),
  /** Whether what is read must be what was written. */
  identical: v.optional(flag, true),
});

/** The kernels that a part can run on. */
export const KERNELS = ['linux', 'solaris'] as const;
export type KernelName = (typeof KERNELS)[number];

const part = v.strictObject({
  title: text,
  /** Default: the scenario's. */
  kernel: v.optional(choice(KERNELS)),
  /** `fresh`, or the number of an earlier part: its disk, with the bytes that it left. */
  disk: v.optional(
    v.union([v.literal('fresh'), whole(1, 2 ** 31)], 'must be "fresh" or the number of an earlier part'),
    'fresh',
  ),
  /** False: the driver forgets to bounce, and cuts addresses to the width of its descriptors. */
  bounce: v.optional(flag, true),
  /** `out-of-reach`: only if the controller cannot reach the process's pages. */
  when: v.optional(choice(['always', 'out-of-reach']), 'always'),
  operations: v.pipe(v.array(operation), v.minLength(1, 'must have at least one element')),
  expect: v.optional(expectation, {}),
});

const region = v.strictObject({
  base: whole(0, 2 ** 53 - 1, 'a physical address, a multiple of 4096'),
  bytes: whole(4096, 2 ** 32, 'bytes, a multiple of 4096'),
});

const fault = v.strictObject({
  kind: choice(['error', 'torn', 'delay']),
  operations: v.optional(v.array(choice(['read', 'write', 'flush', 'discard', 'zero', 'verify']))),
  first: v.optional(sector),
  last: v.optional(sector),
  skip: v.optional(whole(0, 2 ** 31)),
  times: v.optional(whole(0, 2 ** 31)),
  argument: v.optional(whole(0, 2 ** 53 - 1)),
});

export const scenarioSchema = v.strictObject({
  name: text,
  about: v.optional(text, 'a scenario'),
  seed: v.optional(whole(0, 2 ** 32 - 1), 1),
  kernel: v.optional(choice(KERNELS), 'linux'),
  machine: v.optional(
    v.strictObject({
      ram: v.optional(
        v.union(
          [choice(['default', 'small']), v.array(region)],
          'must be "default", "small" or a list of regions',
        ),
      ),
    }),
    {},
  ),
  /** A controller's name or a profile's. */
  controller: v.optional(text, 'aha1542'),
  disk: v.optional(
    v.strictObject({
      bytes: v.optional(whole(512, 2 ** 53 - 512, 'bytes')),
      sectorBytes: v.optional(v.picklist([512, 4096], 'must be 512 or 4096'), 512),
      latencyNs: v.optional(whole(0, 2 ** 40, 'ns')),
    }),
    {},
  ),
  /** Where the process's pages come from: the highest memory, the lowest, or anywhere by seed. */
  userMemory: v.optional(choice(['high', 'low', 'scattered']), 'high'),
  /** Bytes of one request, a multiple of the sector; fewer where the controller takes fewer. */
  requestBytes: v.optional(whole(512, MAX_REQUEST, 'bytes'), 64 * KIB),
  faults: v.optional(v.array(fault), []),
  parts: v.pipe(v.array(part), v.minLength(1, 'must have at least one element')),
});

export type Scenario = v.InferOutput<typeof scenarioSchema>;
export type ScenarioPart = Scenario['parts'][number];
export type ScenarioOperation = ScenarioPart['operations'][number];
export type IovecShape = v.InferOutput<typeof iovec>;

/** A scenario that is not one: `problems` has a line for each wrong field. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';
  readonly problems: readonly string[];

  constructor(source: string, problems: readonly string[]) {
    super(`${source}: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** A disk can be had of a part that comes before. */
function checkDisks({ parts }: Scenario): string[] {
  return parts.flatMap(({ disk }, i) => {
    if (disk === 'fresh' || disk <= i) return [];
    const right =
      i === 0 ? '"fresh": no part is before it' : `"fresh" or the number of an earlier part, 1 to ${i}`;
    return [`parts[${i}].disk is ${disk}; it must be ${right}`];
  });
}

/** Validates what came out of a JSON file; `source` is its name, for the error. Throws ScenarioError. */
export function parseScenario(value: unknown, source: string): Scenario {
  const result = v.safeParse(scenarioSchema, value, { abortPipeEarly: true });
  if (result.success) {
    const problems = checkDisks(result.output);
    if (problems.length > 0) throw new ScenarioError(source, problems);
    return result.output;
  }
  throw new ScenarioError(
    source,
    result.issues.slice(0, 5).map((issue) => describeIssue(issue, scenarioSchema, 'the scenario')),
  );
}
