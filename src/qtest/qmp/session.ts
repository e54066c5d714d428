// One client of QMP: greeting, negotiation, commands in the order in which they come, and events.

import { MachineError } from '../../machine/index.ts';
import { MediumError } from '../../media/index.ts';
import { QtestError } from '../errors.ts';
import type { EventData } from '../system.ts';
import { BLOCK_COMMANDS } from './block.ts';
import {
  After,
  type Arguments,
  type Command,
  checkArguments,
  type Json,
  QMP_VERSION,
  type QmpHost,
} from './command.ts';
import { JsonStream, parseLoose } from './json-stream.ts';
import { MACHINE_COMMANDS } from './machine.ts';
import { OBJECT_COMMANDS } from './objects.ts';
import { schemaOf } from './schema.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true });

const COMMANDS: Readonly<Record<string, Command>> = {
  ...MACHINE_COMMANDS,
  ...BLOCK_COMMANDS,
  ...OBJECT_COMMANDS,
  qmp_capabilities: {
    arguments: { '*enable': 'any' },
    preconfig: true,
    run: () => {
      throw new QtestError(
        "Capabilities negotiation is already complete, command 'qmp_capabilities' ignored",
        'CommandNotFound',
      );
    },
  },
  'query-commands': {
    preconfig: true,
    returns: [{ name: 'str' }],
    run: () => commandNames().map((name) => ({ name })),
  },
  'query-qmp-schema': {
    preconfig: true,
    returns: ['any'],
    run: () => schemaOf(COMMANDS),
  },
};

/** The names of all commands. */
export function commandNames(): readonly string[] {
  return Object.keys(COMMANDS).sort();
}

/** Seconds and microseconds of the host's clock. */
export interface Timestamp {
  readonly seconds: number;
  readonly microseconds: number;
}

export interface QmpOutput {
  send(text: string): void;
  timestamp(): Timestamp;
}

export class QmpSession {
  readonly #host: QmpHost;
  readonly #output: QmpOutput;
  readonly #stream = new JsonStream();
  #negotiated = false;
  /** The client may let commands overtake others. */
  #oob = false;
  /** Commands wait for those before them. */
  #last: Promise<void> = Promise.resolve();

  constructor(host: QmpHost, output: QmpOutput) {
    this.#host = host;
    this.#output = output;
    this.#send({ QMP: { version: QMP_VERSION, capabilities: ['oob'] } });
  }

  /** Something happened; a client that has not negotiated yet hears nothing. */
  event(name: string, data?: EventData): void {
    if (!this.#negotiated) return;
    this.#send({ timestamp: this.#output.timestamp(), event: name, ...(data === undefined ? {} : { data }) });
  }

  /** Takes what the client sends, a character a byte; resolves when it is answered. */
  receive(text: string): Promise<void> {
    const answers = this.#stream.push(text).map((object) => {
      const request = requestOf(object);
      if (this.#oob && request.oob) return this.#answer(request);
      this.#last = this.#last.then(() => this.#answer(request));
      return this.#last;
    });
    return Promise.all(answers).then(() => {});
  }

  async #answer({ id, execute, args, oob, mistake }: Request): Promise<void> {
    const tail = id === undefined ? {} : { id };
    try {
      if (mistake !== null) throw new QtestError(mistake);
      const value = await this.#run(execute, args, oob);
      const result = value instanceof After || value === undefined ? {} : value;
      this.#send({ return: result, ...tail });
      if (value instanceof After) value.run();
    } catch (error) {
      const known =
        error instanceof QtestError || error instanceof MachineError || error instanceof MediumError;
      if (!known) throw error;
      const kind = error instanceof QtestError ? error.kind : 'GenericError';
      this.#send({ error: { class: kind, desc: error.message }, ...tail });
    }
  }

  async #run(name: string, args: Arguments, oob: boolean): Promise<Awaited<ReturnType<Command['run']>>> {
    if (oob && !this.#oob) throw new QtestError("QMP input member 'exec-oob' is unexpected");
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (!this.#negotiated && name === 'qmp_capabilities') return this.#negotiate(args);
    if (!this.#negotiated)
      throw new QtestError("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound');
    if (command === undefined)
      throw new QtestError(`The command ${name} has not been found`, 'CommandNotFound');
    if (oob && command.oob !== true) throw new QtestError(`The command ${name} does not support OOB`);
    if (this.#host.system.preconfig && command.preconfig !== true)
      throw new QtestError(
        `The command '${name}' isn't permitted before x-exit-preconfig`,
        'CommandNotFound',
      );
    checkArguments(command.arguments ?? {}, args);
    return command.run(this.#host, args);
  }

  #negotiate(args: Arguments): Json {
    checkArguments({ '*enable': 'any' }, args);
    const wanted = args.enable ?? [];
    if (!Array.isArray(wanted)) throw new QtestError("Invalid parameter type for 'enable', expected: array");
    for (const capability of wanted)
      if (capability !== 'oob')
        throw new QtestError(
          `Parameter 'enable' does not accept value '${String(capability)}'; there is oob`,
        );
    this.#negotiated = true;
    this.#oob = wanted.length > 0;
    return {};
  }

  /** What is not ASCII goes out as \u and its code. */
  #send(message: object): void {
    const text = JSON.stringify(message).replace(
      /[\u0080-\uffff]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    this.#output.send(`${text}\r\n`);
  }
}

interface Request {
  readonly execute: string;
  readonly args: Arguments;
  readonly id: unknown;
  /** It wants to overtake others. */
  readonly oob: boolean;
  /** Why it is no request, null: it is one. */
  readonly mistake: string | null;
}

function requestOf(text: string): Request {
  const wrong = (mistake: string, id?: unknown): Request => ({
    execute: '',
    args: {},
    id,
    oob: false,
    mistake,
  });
  let value: unknown;
  try {
    value = parseLoose(UTF8.decode(Buffer.from(text, 'latin1')));
  } catch (error) {
    return wrong(`JSON parse error, ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return wrong('QMP input must be a JSON object');
  const {
    execute,
    'exec-oob': overtaking,
    arguments: args = {},
    id,
    ...rest
  } = value as Record<string, unknown>;
  const extra = Object.keys(rest)[0];
  if (extra !== undefined) return wrong(`QMP input member '${extra}' is unexpected`, id);
  const name = execute ?? overtaking;
  if (name === undefined) return wrong("QMP input lacks member 'execute'", id);
  if (execute !== undefined && overtaking !== undefined)
    return wrong("QMP input member 'exec-oob' clashes with 'execute'", id);
  if (typeof name !== 'string') return wrong("QMP input member 'execute' must be a string", id);
  if (typeof args !== 'object' || args === null || Array.isArray(args))
    return wrong("QMP input member 'arguments' must be an object", id);
  return { execute: name, args: args as Arguments, id, oob: overtaking !== undefined, mistake: null };
}
