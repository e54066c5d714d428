// What `query-qmp-schema` answers: commands and events with the shapes of what they take and give, as QAPI's introspection
// writes them down. Types other than those that are built in have numbers for names.

import type { Command, Json, ObjectShape, Shape } from './command.ts';

/** Types that are built in, and what they are in JSON. */
const BUILT_IN = { str: 'string', int: 'int', bool: 'boolean', any: 'value' } as const;

/** Data of the events that there are. */
const EVENTS: Readonly<Record<string, ObjectShape>> = {
  BLOCK_IO_ERROR: {
    device: 'str',
    '*node-name': 'str',
    operation: 'str',
    action: 'str',
    '*nospace': 'bool',
    reason: 'str',
  },
  DEVICE_DELETED: { '*device': 'str', path: 'str' },
  DEVICE_TRAY_MOVED: { device: 'str', id: 'str', 'tray-open': 'bool' },
  POWERDOWN: {},
  RESET: { guest: 'bool', reason: 'str' },
  RESUME: {},
  SHUTDOWN: { guest: 'bool', reason: 'str' },
  STOP: {},
};

/** The schema of `commands` and of all events. */
export function schemaOf(commands: Readonly<Record<string, Command>>): Json {
  const types = new Map<string, Json>();
  const entries: Json[] = [];
  for (const [name, { arguments: taken = {}, returns = {}, oob = false }] of Object.entries(commands))
    entries.push({
      name,
      'meta-type': 'command',
      'arg-type': nameOf(taken, types),
      'ret-type': nameOf(returns, types),
      ...(oob ? { 'allow-oob': true } : {}),
    });
  for (const [name, data] of Object.entries(EVENTS))
    entries.push({ name, 'meta-type': 'event', 'arg-type': nameOf(data, types) });
  return [...entries, ...types.values()];
}

/** The name of a shape; what is not among `types` yet is added. */
function nameOf(shape: Shape, types: Map<string, Json>): string {
  if (typeof shape === 'string') {
    types.set(shape, { name: shape, 'meta-type': 'builtin', 'json-type': BUILT_IN[shape] });
    return shape;
  }
  if (isList(shape)) {
    const element = nameOf(shape[0], types);
    const name = `[${element}]`;
    types.set(name, { name, 'meta-type': 'array', 'element-type': element });
    return name;
  }
  // A * alone stands for members that nobody can list.
  const members = Object.entries(shape)
    .filter(([key]) => key !== '*')
    .map(([key, type]) => ({
      name: key.replace(/^\*/, ''),
      ...(key.startsWith('*') ? { default: null } : {}),
      type: nameOf(type, types),
    }));
  const key = JSON.stringify(members);
  const known = types.get(key) as { name: string } | undefined;
  if (known !== undefined) return known.name;
  const name = `${types.size}`;
  types.set(key, { name, 'meta-type': 'object', members });
  return name;
}

function isList(shape: ObjectShape | readonly [Shape]): shape is readonly [Shape] {
  return Array.isArray(shape);
}
