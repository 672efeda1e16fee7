// Replies that have to follow a schema or a grammar, checked with a validator that is not ours.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start();
  client = server.client();
});

const ajv = formats(new Ajv({ strict: false }));

const schemas = {
  person: {
    type: 'object',
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 20 },
      age: { type: 'integer', minimum: 0, maximum: 130 },
      born: { type: 'string', format: 'date' },
      tags: { type: 'array', items: { enum: ['red', 'green', 'blue'] }, maxItems: 3 },
      contact: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/contact' }] },
    },
    required: ['name', 'age', 'born', 'tags', 'contact'],
    additionalProperties: false,
    $defs: {
      contact: {
        type: 'object',
        properties: { code: { type: 'string', pattern: '^[A-Z]{2}-\\d{1,4}$' }, primary: { type: 'boolean' } },
        required: ['code'],
        additionalProperties: false,
      },
    },
  },
  choice: { type: 'string', enum: ['yes', 'no', 'perhaps'] },
  numbers: { type: 'array', items: { type: 'number', minimum: -1, maximum: 1 }, minItems: 2, maxItems: 5 },
  tuple: { type: 'array', prefixItems: [{ type: 'boolean' }, { type: 'integer' }], items: false, minItems: 2 },
};

const ask = (more) => ({ model: 'demo', max_tokens: 400, messages: user('Describe an owl as JSON.'), ...more });
const as = (schema) => ({ type: 'json_schema', json_schema: { name: 'reply', strict: true, schema } });

for (const [name, schema] of Object.entries(schemas)) {
  test(`content keeps to the schema '${name}', greedy and sampled, streamed and not`, async () => {
    const valid = ajv.compile(schema);
    for (const temperature of [0, 1, 2]) {
      const { choices: [choice] } = await client.chat.completions.create(
        ask({ response_format: as(schema), temperature, seed: 7 }));
      assert.equal(choice.finish_reason, 'stop');
      assert.ok(valid(JSON.parse(choice.message.content)), `${choice.message.content}: ${ajv.errorsText(valid.errors)}`);
    }
    let content = '';
    for await (const chunk of await client.chat.completions.create(ask({ response_format: as(schema), stream: true })))
      content += chunk.choices[0]?.delta.content ?? '';
    assert.ok(valid(JSON.parse(content)), content);
  });
}

test('json_object gives an object', async () => {
  const { choices: [choice] } = await client.chat.completions.create(
    ask({ response_format: { type: 'json_object' }, temperature: 0, max_tokens: 200 }));
  assert.match(choice.message.content, /^\s*\{/);
});

test('what no grammar can hold is checked afterwards and reported', async () => {
  const schema = { type: 'array', items: { enum: ['a'] }, minItems: 3, maxItems: 3, uniqueItems: true };
  const from = server.lines.length;
  const reply = await client.chat.completions.create(ask({ response_format: as(schema) }));
  assert.deepEqual(JSON.parse(reply.choices[0].message.content), ['a', 'a', 'a']);
  assert.match(reply.warnings[0], /uniqueItems/);
  await server.log(/not held while the model writes: schema\.items: uniqueItems/, from);
  const chunks = [];
  for await (const chunk of await client.chat.completions.create(ask({ response_format: as(schema), stream: true })))
    chunks.push(chunk);
  assert.match(chunks.find((c) => c.choices[0]?.finish_reason).warnings[0], /uniqueItems/);
});

test('a grammar is followed, by chats and completions', async () => {
  const grammar = 'root ::= "<" [0-9]{3} ("-" [a-f]+)? ">"';
  const chat = await client.chat.completions.create(ask({ grammar, temperature: 1 }));
  assert.match(chat.choices[0].message.content, /^<\d{3}(-[a-f]+)?>?$/);
  const text = await client.completions.create({ model: 'demo', prompt: 'Id: ', grammar, max_tokens: 60 });
  assert.match(text.choices[0].text, /^<\d{3}(-[a-f]*)?>?$/);
});

test('the server of the shapes tests ends cleanly', () => server.stop());
