// A profile from a file: one board's behaviour as data. The shape is checked by a schema, the parameters by
// the controller that they are for.

import * as v from 'valibot';
import { CONTROLLERS, findController, type Profile } from '../controllers/index.ts';
import { describeIssue } from './errors.ts';

const text = v.pipe(v.string('must be text'), v.nonEmpty('must not be empty'));
const idMessage = 'must be a number from 0 to 65535, or text such as "0x8086"';
const id = v.pipe(
  v.union(
    [v.number(idMessage), v.pipe(v.string(idMessage), v.regex(/^0x[0-9a-f]{1,4}$/i, idMessage))],
    idMessage,
  ),
  v.check(
    (value) => Number(value) >= 0 && Number(value) <= 0xffff && Number.isInteger(Number(value)),
    idMessage,
  ),
);
const bitsMessage = 'must be a whole number from 16 to 64 (address lines)';

export const profileSchema = v.strictObject({
  name: v.pipe(text, v.regex(/^[a-z0-9][a-z0-9-]*$/, 'must be of small letters, digits and hyphens')),
  controller: v.picklist(
    CONTROLLERS.map(({ kind }) => kind),
    `must be ${CONTROLLERS.map(({ kind }) => `"${kind}"`).join(' or ')}`,
  ),
  board: text,
  artificial: v.boolean('must be true or false'),
  about: text,
  addressBits: v.pipe(
    v.number(bitsMessage),
    v.integer(bitsMessage),
    v.minValue(16, bitsMessage),
    v.maxValue(64, bitsMessage),
  ),
  pci: v.optional(
    v.strictObject({
      vendor: id,
      device: id,
      subsystemVendor: v.optional(id),
      subsystem: v.optional(id),
      revision: v.optional(id),
    }),
  ),
  parameters: v.pipe(
    v.custom<object>((value) => !Array.isArray(value), 'must be an object, not a list'),
    v.record(v.string(), v.union([v.number(), v.boolean()], 'must be a number, true or false')),
  ),
});

/** A profile that is not one: `problems` has a line for each wrong field. */
export class ProfileError extends Error {
  override readonly name = 'ProfileError';
  readonly problems: readonly string[];

  constructor(source: string, problems: readonly string[]) {
    super(`${source}: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** Validates what came out of a JSON file; `source` is its name, for the error. Throws ProfileError. */
export function parseProfile(value: unknown, source: string): Profile {
  const result = v.safeParse(profileSchema, value, { abortPipeEarly: true });
  if (!result.success) {
    throw new ProfileError(
      source,
      result.issues.slice(0, 5).map((issue) => describeIssue(issue, profileSchema, 'the profile')),
    );
  }
  const problems = checkParameters(result.output.controller, result.output.parameters);
  if (problems.length > 0) throw new ProfileError(source, problems);
  return result.output as Profile;
}

function checkParameters(kind: string, parameters: Readonly<Record<string, number | boolean>>): string[] {
  const known = findController(kind)?.parameters ?? {};
  return Object.entries(parameters).flatMap(([name, value]) => {
    const parameter = known[name];
    if (parameter === undefined) {
      return [`parameters.${name} is no parameter of ${kind}; known are ${Object.keys(known).join(', ')}`];
    }
    const number = Number(value);
    const fits = Number.isInteger(number) && number >= parameter.min && number <= parameter.max;
    return fits
      ? []
      : [
          `parameters.${name} is ${value}; it must be a whole number from ${parameter.min} to ${parameter.max} (${parameter.about})`,
        ];
  });
}
