// One client's conversation in QMP, in this process: what is no JSON, commands that overtake others, what may be asked
// before the machine is made, and whether answers are what the schema says.

import { loadModule } from '../../src/machine/index.ts';
import { readCommandLine } from '../../src/qtest/command-line.ts';
import { commandNames, QmpSession } from '../../src/qtest/qmp/session.ts';
import { System } from '../../src/qtest/system.ts';
import { assert, suite } from '../run/suite.ts';
import type { QmpMessage } from './client.ts';

const test = suite('qtest qmp session');
let module: WebAssembly.Module | undefined;

class Conversation {
  readonly messages: QmpMessage[] = [];
  readonly session: QmpSession;
  readonly system: System;
  /** Lets the text file that somebody reads be read. */
  unblock: () => void = () => {};

  private constructor(system: System) {
    this.system = system;
    const host = {
      system,
      migration: null,
      migrate: () => {},
      listenIncoming: () => {},
      quit: () => {},
    };
    this.session = new QmpSession(host, {
      send: (text) => {
        this.messages.push(JSON.parse(text) as QmpMessage);
      },
      timestamp: () => ({ seconds: 1, microseconds: 2 }),
    });
    system.listener = { interrupt: () => {}, event: (name, data) => this.session.event(name, data) };
  }

  static async start(line: string, enable: readonly string[] | null = []): Promise<Conversation> {
    module ??= await loadModule();
    const args = line.split(' ').filter((word) => word !== '');
    let unblock = (): void => {};
    const blocked = new Promise<string>((resolve) => {
      unblock = () => resolve('');
    });
    const system = await System.create(readCommandLine(args), { readText: () => blocked, module });
    const conversation = new Conversation(system);
    conversation.unblock = unblock;
    if (enable !== null) await conversation.ask('qmp_capabilities', { enable });
    return conversation;
  }

  /** Sends text as it is; resolves to what is answered. */
  async send(text: string): Promise<QmpMessage[]> {
    const before = this.messages.length;
    await this.session.receive(text);
    return this.messages.slice(before);
  }

  async ask(execute: string, args: object = {}): Promise<QmpMessage> {
    const answers = await this.send(JSON.stringify({ execute, arguments: args }));
    return answers.find(({ event }) => event === undefined) as QmpMessage;
  }
}

test('a byte that no JSON has is refused at once, and the next command is read', async () => {
  for (const enable of [null, []]) {
    const talk = await Conversation.start('-M none', enable);
    for (const text of [
      '{]\n',
      '{\xff',
      '{\x01',
      "{'bad \xff",
      "{'execute': 'x', 'id':'\n",
      '%p',
      '{"a": "\x80"}',
    ]) {
      const [answer, ...more] = await talk.send(text);
      assert.is(answer?.error?.class, 'GenericError', JSON.stringify(text));
      assert.equal(more, []);
      const [next] = await talk.send("{ 'execute': 'no-such-cmd' }");
      assert.is(next?.error?.class, 'CommandNotFound', JSON.stringify(text));
    }
  }
});

test('names that are not ASCII come as UTF-8 and go as \\u', async () => {
  const talk = await Conversation.start('-M none');
  const bytes = Buffer.from('{"execute": "query-name", "id": "Größe"}', 'utf8').toString('latin1');
  const [answer] = await talk.send(bytes);
  assert.is(answer?.id, 'Größe');
});

test('oob: it is offered, and nothing else can be enabled', async () => {
  const talk = await Conversation.start('-M none', null);
  assert.equal((talk.messages[0] as { QMP: { capabilities: string[] } }).QMP.capabilities, ['oob']);
  const wrong = await talk.ask('qmp_capabilities', { enable: ['frob'] });
  assert.match(wrong.error?.desc ?? '', /does not accept value 'frob'; there is oob/);
  assert.equal((await talk.ask('qmp_capabilities')).return, {});
  const [refused] = await talk.send('{"exec-oob": "migrate-pause", "id": 1}');
  assert.match(refused?.error?.desc ?? '', /'exec-oob' is unexpected/);
  assert.is(refused?.id, 1);
});

test('oob: a command that may overtakes one that waits; others keep their order', async () => {
  const talk = await Conversation.start('-M none', ['oob']);
  const [unable] = await talk.send('{"exec-oob": "query-name"}');
  assert.match(unable?.error?.desc ?? '', /query-name does not support OOB/);
  const args = { driver: 'blkdebug', 'node-name': 'n', config: 'pipe', image: { driver: 'null-co' } };
  const before = talk.messages.length;
  const slow = [
    talk.session.receive(JSON.stringify({ execute: 'blockdev-add', id: 'slow', arguments: args })),
    talk.session.receive('{"execute": "query-name", "id": "quick"}{"id": "wrong"}'),
  ];
  await talk.send('{"exec-oob": "migrate-pause", "id": "oob"}');
  assert.equal(
    talk.messages.slice(before).map(({ id }) => id),
    ['oob'],
  );
  talk.unblock();
  await Promise.all(slow);
  assert.equal(
    talk.messages.slice(before).map(({ id }) => id),
    ['oob', 'slow', 'quick', 'wrong'],
  );
});

test('preconfig: few commands are taken until x-exit-preconfig, and then that one is not', async () => {
  const talk = await Conversation.start('-M pc -nodefaults -preconfig');
  const status = async (): Promise<unknown> => (await talk.ask('query-status')).return;
  assert.equal(await status(), { running: false, singlestep: false, status: 'prelaunch' });
  assert.is((await talk.ask('query-block')).error?.class, 'CommandNotFound');
  await talk.ask('x-exit-preconfig');
  assert.ok(talk.messages.some(({ event }) => event === 'RESUME'));
  assert.equal(await status(), { running: true, singlestep: false, status: 'running' });
  assert.is((await talk.ask('x-exit-preconfig')).error?.class, 'GenericError');
});

test('objects come and go by their ids', async () => {
  const talk = await Conversation.start('-M pc -nodefaults -drive if=none,id=d,file=null-co://');
  const ram = { 'qom-type': 'memory-backend-ram', id: 'ram1' };
  const wrong: readonly (readonly [command: string, args: object, message: RegExp])[] = [
    ['object-add', ram, /size is "", which is no size/],
    ['object-add', { id: 'ram1' }, /Parameter 'qom-type' is missing/],
    ['object-add', { ...ram, size: '1048576' }, /'size', expected: integer/],
    ['object-add', { ...ram, size: 4096, sized: 1 }, /Property 'memory-backend-ram.sized' not found/],
    ['object-add', { ...ram, 'qom-type': 'frob' }, /invalid object type: frob/],
    ['object-del', { id: 'ram1' }, /object 'ram1' not found/],
  ];
  for (const [command, args, message] of wrong)
    assert.match((await talk.ask(command, args)).error?.desc ?? '', message);
  assert.equal((await talk.ask('object-add', { ...ram, size: 4096 })).return, {});
  assert.match((await talk.ask('object-add', { ...ram, size: 4096 })).error?.desc ?? '', /'ram1' already/);
  const device = { driver: 'nvme', drive: 'd', serial: 's', id: 'n', pmrdev: 'ram1' };
  assert.is((await talk.ask('device_add', device)).error, undefined);
  assert.match((await talk.ask('object-del', { id: 'ram1' })).error?.desc ?? '', /is in use/);
  await talk.ask('device_del', { id: 'n' });
  await talk.ask('system_reset');
  assert.equal((await talk.ask('object-del', { id: 'ram1' })).return, {});
});

test('a property that nobody can set is named, a value that is missing too', async () => {
  const talk = await Conversation.start('-M pc');
  const args = { path: '/machine', property: 'type' };
  assert.match((await talk.ask('qom-set', args)).error?.desc ?? '', /Parameter 'value' is missing/);
  assert.match((await talk.ask('qom-set', { ...args, value: 1 })).error?.desc ?? '', /cannot be changed/);
});

interface Entry {
  readonly name: string;
  readonly 'meta-type': string;
  readonly 'json-type'?: string;
  readonly 'arg-type'?: string;
  readonly 'ret-type'?: string;
  readonly 'element-type'?: string;
  readonly members?: readonly { readonly name: string; readonly type: string; readonly default?: null }[];
}

const JSON_TYPES: Readonly<Record<string, string>> = { string: 'string', int: 'number', boolean: 'boolean' };

/** Where `value` is not of the type `name`; '' where it is. */
function misfit(schema: ReadonlyMap<string, Entry>, name: string, value: unknown, at: string): string {
  const type = schema.get(name);
  if (type === undefined) return `${at}: there is no type ${name}`;
  const inner = type['element-type'];
  if (inner !== undefined) {
    if (!Array.isArray(value)) return `${at}: no array`;
    return (
      value.map((item, i) => misfit(schema, inner, item, `${at}[${i}]`)).find((text) => text !== '') ?? ''
    );
  }
  const { members } = type;
  if (members === undefined) {
    const json = type['json-type'] ?? '';
    return json === 'value' || typeof value === JSON_TYPES[json] ? '' : `${at}: no ${json}`;
  }
  if (typeof value !== 'object' || value === null) return `${at}: no object`;
  const extra = Object.keys(value).find((key) => !members.some((member) => member.name === key));
  if (extra !== undefined) return `${at}: ${extra} is not in the schema`;
  for (const member of members) {
    const part = (value as Record<string, unknown>)[member.name];
    if (part === undefined && 'default' in member) continue;
    const wrong = misfit(schema, member.type, part, `${at}.${member.name}`);
    if (wrong !== '') return wrong;
  }
  return '';
}

test('query-qmp-schema: every command and type is there, and answers are as it says', async () => {
  const talk = await Conversation.start(
    '-M pc -drive if=none,id=d,file=null-co:// -device nvme,drive=d,serial=1,id=n',
  );
  const entries = (await talk.ask('query-qmp-schema')).return as Entry[];
  const schema = new Map(entries.map((entry) => [entry.name, entry]));
  const commands = entries.filter((entry) => entry['meta-type'] === 'command');
  assert.equal(commands.map(({ name }) => name).sort(), [...commandNames()]);
  assert.is(schema.size, entries.length, 'no name is there twice');
  let asked = 0;
  for (const { name, 'arg-type': taken = '', 'ret-type': given = '' } of commands) {
    const needed = (schema.get(taken)?.members ?? []).filter((member) => !('default' in member));
    const empty = schema.get(given)?.members?.length === 0;
    const args = needed.map((member) => [member.name, { path: '/machine', typename: 'nvme' }[member.name]]);
    if (empty || args.some(([, value]) => value === undefined)) continue;
    const answer = await talk.ask(name, Object.fromEntries(args));
    assert.is(answer.error, undefined, name);
    assert.is(misfit(schema, given, answer.return, name), '');
    asked++;
  }
  assert.ok(asked >= 17, `${asked} commands were asked`);
  await talk.ask('stop');
  await talk.ask('system_reset');
  for (const { event, data = {} } of talk.messages) {
    if (event === undefined) continue;
    assert.is(misfit(schema, schema.get(event)?.['arg-type'] ?? '', data, event), '');
  }
});
