// QMP, against the real server.

import { assert, suite } from '../run/suite.ts';
import { withClient } from './client.ts';
import { Images } from './images.ts';

const test = suite('qtest qmp');
const images = new Images();
test.after(() => images.remove());

test('it greets with a version, and commands that overtake others', () =>
  withClient(['-M', 'none'], async (client) => {
    const version = { qemu: { micro: 0, minor: 2, major: 7 }, package: 'backplane' };
    assert.equal(client.greeting.QMP, { version, capabilities: ['oob'] });
    assert.is((await client.qmp('qmp_capabilities')).error?.class, 'CommandNotFound', 'once is enough');
  }));

for (const { args, version, fields } of [
  { args: [], version: '7.2', fields: [] },
  { args: ['-audio', 'none'], version: '8.0, whose clients turn sound off', fields: ['acpi'] },
]) {
  test(`machines are listed with the fields of the schema of ${version}, and no other`, () =>
    withClient(['-machine', 'none', ...args], async (client) => {
      const machines = (await client.run('query-machines')) as Record<string, unknown>[];
      assert.equal(
        machines.map(({ name }) => name),
        ['none', 'pc', 'q35'],
      );
      const required = ['cpu-max', 'deprecated', 'hotpluggable-cpus', 'name', 'numa-mem-supported'];
      for (const machine of machines) {
        const keys = Object.keys(machine).filter((key) => key !== 'alias' && key !== 'is-default');
        assert.equal(keys.sort(), [...fields, ...required]);
      }
      assert.equal(
        machines.filter((machine) => machine['is-default'] === true).map(({ name }) => name),
        ['pc'],
      );
    }));
}

test('types are listed by what they are, abstract ones where they are wanted', () =>
  withClient(['-machine', 'none'], async (client) => {
    const list = async (args: object): Promise<string[]> =>
      ((await client.run('qom-list-types', { ...args })) as { name: string }[]).map(({ name }) => name);
    const devices = await list({ implements: 'device' });
    for (const name of [
      'ich9-ahci',
      'piix3-ide',
      'ide-hd',
      'ide-cd',
      'nvme',
      'virtio-blk-pci',
      'lsi53c895a',
      'lsi53c810',
      'scsi-hd',
      'scsi-cd',
    ])
      assert.ok(devices.includes(name), name);
    assert.not(devices.includes('pci-device'));
    const all = await list({ implements: 'device', abstract: true });
    assert.ok(all.includes('pci-device') && !all.includes('machine'));
    assert.equal(await list({ implements: 'nothing' }), []);
  }));

test('what is wrong with a command is said as clients expect', () =>
  withClient(['-M', 'pc', '-nodefaults'], async (client) => {
    const wrong: [string, Record<string, unknown> | undefined, string, RegExp][] = [
      ['no-such-command', undefined, 'CommandNotFound', /no-such-command has not been found/],
      ['device_del', undefined, 'GenericError', /Parameter 'id' is missing/],
      ['device_del', { id: 3 }, 'GenericError', /Invalid parameter type for 'id', expected: string/],
      ['query-status', { extra: 1 }, 'GenericError', /Parameter 'extra' is unexpected/],
      ['device_del', { id: 'x' }, 'DeviceNotFound', /Device 'x' not found/],
      ['device_add', { driver: 'frob' }, 'GenericError', /'frob' is not a valid device model name/],
      ['device_add', { driver: 'nvme', frob: 1 }, 'GenericError', /Property 'nvme.frob' not found/],
      ['device_add', { driver: 'nvme', serial: 'x' }, 'GenericError', /drive property not set/],
      ['device_add', { driver: 'scsi-hd', drive: 'd' }, 'GenericError', /No 'SCSI' bus found/],
      ['block_resize', { device: 'd', size: 512 }, 'DeviceNotFound', /Device 'd' not found/],
      ['blockdev-add', { 'node-name': 'n', driver: 'frob' }, 'GenericError', /no driver "frob"/],
      [
        'blockdev-add',
        { 'node-name': 'n', driver: 'file', filename: '/no/such' },
        'GenericError',
        /No such file/,
      ],
    ];
    for (const [command, args, kind, text] of wrong) {
      const { error } = await client.qmp(command, args);
      assert.is(error?.class, kind, command);
      assert.match(error?.desc ?? '', text);
    }
  }));

test('input that is no command is refused, and the next is read', () =>
  withClient(['-M', 'none'], async (client) => {
    for (const text of [
      '{"execute": }',
      '[]',
      '{}',
      '{"execute": 1}',
      '{"execute": "stop", "x": 1}',
      'nonsense',
    ]) {
      client.sendRaw(`${text}\n`);
      assert.is((await client.nextMessage()).error?.class, 'GenericError', text);
    }
    client.sendRaw("{'execute': 'query-status', 'id': [1, \"a'b\"]}{ 'execute':'query-name'}");
    const first = await client.nextMessage();
    assert.equal(first.id, [1, "a'b"]);
    assert.equal((await client.nextMessage()).return, {});
  }));

test('stop and cont are told once each', () =>
  withClient(['-M', 'pc', '-S'], async (client) => {
    const status = async (): Promise<string> =>
      ((await client.run('query-status')) as { status: string }).status;
    assert.is(await status(), 'prelaunch');
    await client.run('cont');
    await client.event('RESUME');
    await client.run('stop');
    await client.run('stop');
    await client.event('STOP');
    assert.is(await status(), 'paused');
    await client.run('cont');
    await client.event('RESUME');
  }));

test('a reset puts PCI back and is told', () =>
  withClient(['-M', 'q35'], async (client) => {
    await client.commands(['outl 0xcf8 0x8000fa24', 'outl 0xcfc 0xe0000000']);
    await client.run('system_reset');
    assert.equal(await client.event('RESET'), { guest: false, reason: 'host-qmp-system-reset' });
    assert.equal(await client.commands(['outl 0xcf8 0x8000fa24', 'inl 0xcfc']), ['OK', 'OK 0x0000']);
    await client.command('outb 0xcf9 6');
    assert.equal(await client.event('RESET'), { guest: true, reason: 'guest-reset' });
  }));

test('drives come and go with their devices; nodes stay', () =>
  withClient(['-M', 'pc', '-drive', 'if=none,id=drive0'], async (client) => {
    const drives = async (): Promise<string[]> =>
      ((await client.run('query-block')) as { device: string }[]).map(({ device }) => device);
    const failed = await client.qmp('device_add', { driver: 'virtio-blk-pci', drive: 'drive0' });
    assert.match(failed.error?.desc ?? '', /drive is empty/);
    assert.is(await client.human('drive_del drive0'), '');
    assert.not((await drives()).includes('drive0'));
    assert.is(await client.human('drive_add 0 if=none,id=drive0,file=null-co://,format=raw'), 'OK\r\n');
    await client.run('blockdev-add', { driver: 'raw', 'node-name': 'n', file: { driver: 'null-co' } });
    await client.run('device_add', { driver: 'virtio-blk-pci', drive: 'drive0', id: 'd0' });
    await client.run('device_add', { driver: 'virtio-blk-pci', drive: 'n', id: 'd1' });
    assert.match((await client.qmp('blockdev-del', { 'node-name': 'n' })).error?.desc ?? '', /in use/);
    await client.run('device_del', { id: 'd0' });
    await client.run('device_del', { id: 'd1' });
    await client.run('system_reset');
    await client.event('RESET');
    assert.not((await drives()).includes('drive0'));
    await client.run('device_add', { driver: 'virtio-blk-pci', drive: 'n', id: 'd2' });
    assert.equal(
      ((await client.run('query-named-block-nodes')) as { 'node-name': string }[]).map(
        (node) => node['node-name'],
      ),
      ['n'],
    );
  }));

test('the tree of objects has the devices and their properties', () =>
  withClient(['-M', 'pc', '-device', 'lsi53c895a,id=s'], async (client) => {
    const names = async (path: string): Promise<string[]> =>
      ((await client.run('qom-list', { path })) as { name: string }[]).map(({ name }) => name);
    assert.equal(await names('/machine/peripheral'), ['type', 's']);
    assert.is(await client.run('qom-get', { path: '/machine/peripheral/s', property: 'type' }), 'lsi53c895a');
    assert.is((await client.qmp('qom-list', { path: '/frob' })).error?.class, 'DeviceNotFound');
    const properties = (await client.run('device-list-properties', { typename: 'nvme' })) as {
      name: string;
    }[];
    assert.ok(properties.some(({ name }) => name === 'cmb_size_mb'));
  }));

test('the human monitor says what it does not know', () =>
  withClient(['-M', 'pc', '-cdrom', images.raw(4096)], async (client) => {
    assert.is(await client.human('frob'), "unknown command: 'frob'\r\n");
    assert.match(String(await client.human('info frob')), /^Error: .*there are block/);
    assert.is(await client.human('info status'), 'VM status: running\r\n');
    assert.match(String(await client.human('info block')), /ide1-cd0: .*0\.img/);
    for (const line of String(await client.human('help info'))
      .trim()
      .split('\r\n'))
      assert.match(line, /^info \w+ /);
    assert.match(String(await client.human('qemu-io ide1-cd0 "break frob A"')), /^Error: .*frob/);
  }));
