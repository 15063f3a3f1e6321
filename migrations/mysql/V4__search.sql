-- What a search over a million bundles needs. bundle_metadata stays the one source of truth: the columns and tables made
-- here are derived from it by triggers, so that they also follow a CodaLab 1.7 server that writes to this database.
-- Triggers need the TRIGGER privilege and, where the binary log is on, log_bin_trust_function_creators = 1 (or SUPER).
-- Every statement may run again after an interruption.
--
-- A statement that writes bundle_metadata, worksheet_item or group_bundle_permission must not name `bundle` as well:
-- MySQL refuses a trigger that changes a table of the statement that fired it (error 1442).

DROP TRIGGER IF EXISTS `bundle_metadata_before_insert`;
DROP TRIGGER IF EXISTS `bundle_metadata_before_update`;
DROP TRIGGER IF EXISTS `bundle_metadata_after_insert`;
DROP TRIGGER IF EXISTS `bundle_metadata_after_update`;
DROP TRIGGER IF EXISTS `bundle_metadata_after_delete`;
DROP TRIGGER IF EXISTS `bundle_after_insert`;
DROP TRIGGER IF EXISTS `bundle_after_update`;
DROP TRIGGER IF EXISTS `bundle_after_delete`;
DROP TRIGGER IF EXISTS `worksheet_item_after_insert`;
DROP TRIGGER IF EXISTS `worksheet_item_after_delete`;
DROP TRIGGER IF EXISTS `group_bundle_permission_after_insert`;
DROP TRIGGER IF EXISTS `group_bundle_permission_after_update`;
DROP TRIGGER IF EXISTS `group_bundle_permission_after_delete`;

-- The metadata that is searched most, typed, beside the bundle. A generated column is the indexable beginning of a text.
ALTER TABLE `bundle`
  ADD COLUMN `name` VARCHAR(255) NULL,
  ADD COLUMN `created` BIGINT NULL,
  ADD COLUMN `data_size` BIGINT NULL,
  ADD COLUMN `is_public` TINYINT(1) NOT NULL DEFAULT 0,
  ADD COLUMN `command_key` VARCHAR(191) GENERATED ALWAYS AS (LEFT(`command`, 191)) VIRTUAL;
-- bundle_id makes an index on a value deliver bundles in their order.
ALTER TABLE `bundle_metadata`
  ADD COLUMN `bundle_id` BIGINT NULL,
  ADD COLUMN `number` DOUBLE NULL,
  ADD COLUMN `value_key` VARCHAR(63) GENERATED ALWAYS AS (LEFT(`metadata_value`, 63)) VIRTUAL;

-- Pieces of names (three characters) and of uuids ('#' and three digits at a multiple of three): what contains a word
-- has the word's pieces.
CREATE TABLE IF NOT EXISTS `bundle_gram` (
  `gram` VARCHAR(4) COLLATE utf8_bin NOT NULL,
  `bundle_id` BIGINT NOT NULL,
  PRIMARY KEY (`gram`, `bundle_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

-- Every bundle that is on no worksheet, and perhaps some that are.
CREATE TABLE IF NOT EXISTS `bundle_floating` (
  `bundle_id` BIGINT NOT NULL,
  PRIMARY KEY (`bundle_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

-- Sums over bundles. Changes are appended, so that transactions do not wait for each other; the model merges rows.
CREATE TABLE IF NOT EXISTS `bundle_total` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `owner_id` VARCHAR(255) NOT NULL,
  `state` VARCHAR(63) NOT NULL,
  `is_public` TINYINT(1) NOT NULL,
  `is_anonymous` TINYINT(1) NOT NULL,
  `bundles` BIGINT NOT NULL,
  `sized` BIGINT NOT NULL,
  `bytes` BIGINT NOT NULL,
  PRIMARY KEY (`id`),
  KEY `bundle_total_owner_index` (`owner_id`, `state`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT IGNORE INTO `named_lock` (`name`) VALUES ('bundle_total');

-- 0 to 255: the places in a name.
CREATE TABLE IF NOT EXISTS `search_position` (
  `position` BIGINT NOT NULL,
  PRIMARY KEY (`position`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT IGNORE INTO `search_position` (`position`)
  SELECT `a`.`n` + 4 * `b`.`n` + 16 * `c`.`n` + 64 * `d`.`n`
  FROM (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `a`
  JOIN (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `b`
  JOIN (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `c`
  JOIN (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `d`;

-- What is there already. Of several rows of a key the last one counts.
UPDATE `bundle_metadata` `m` JOIN `bundle` `b` ON `b`.`uuid` = `m`.`bundle_uuid`
  SET `m`.`bundle_id` = `b`.`id`,
    `m`.`number` = CASE WHEN `m`.`metadata_value` REGEXP '^[-+]?[0-9]{1,30}([.][0-9]{0,40})?([eE][-+]?[0-9]{1,2})?$' THEN `m`.`metadata_value` + 0 END;
UPDATE `bundle` `b` SET
  `b`.`name` = (SELECT LEFT(`m`.`metadata_value`, 255) FROM `bundle_metadata` `m`
    WHERE `m`.`bundle_uuid` = `b`.`uuid` AND `m`.`metadata_key` = 'name' ORDER BY `m`.`id` DESC LIMIT 1),
  `b`.`created` = (SELECT `m`.`number` FROM `bundle_metadata` `m`
    WHERE `m`.`bundle_uuid` = `b`.`uuid` AND `m`.`metadata_key` = 'created' ORDER BY `m`.`id` DESC LIMIT 1),
  `b`.`data_size` = (SELECT `m`.`number` FROM `bundle_metadata` `m`
    WHERE `m`.`bundle_uuid` = `b`.`uuid` AND `m`.`metadata_key` = 'data_size' ORDER BY `m`.`id` DESC LIMIT 1),
  `b`.`is_public` = EXISTS (SELECT 1 FROM `group_bundle_permission` `p` JOIN `group` `g` ON `g`.`uuid` = `p`.`group_uuid`
    WHERE `p`.`object_uuid` = `b`.`uuid` AND `p`.`permission` >= 1 AND `g`.`name` = 'public' AND `g`.`user_defined` = 0);
INSERT IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
  SELECT LOWER(SUBSTRING(`b`.`name`, `p`.`position` + 1, 3)), `b`.`id`
  FROM `bundle` `b` JOIN `search_position` `p` ON `p`.`position` <= CHAR_LENGTH(`b`.`name`) - 3
  ORDER BY 1, 2;
INSERT IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
  SELECT CONCAT('#', SUBSTRING(`b`.`uuid`, 3 + 3 * `p`.`position`, 3)), `b`.`id`
  FROM `bundle` `b` JOIN `search_position` `p` ON `p`.`position` < 10
  ORDER BY 1, 2;
INSERT IGNORE INTO `bundle_floating` (`bundle_id`)
  SELECT `b`.`id` FROM `bundle` `b`
  WHERE NOT EXISTS (SELECT 1 FROM `worksheet_item` `i` WHERE `i`.`bundle_uuid` = `b`.`uuid`);
DELETE FROM `bundle_total`;
INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
  SELECT COALESCE(`owner_id`, ''), `state`, `is_public`, `is_anonymous`, COUNT(*), COUNT(`data_size`),
    COALESCE(SUM(`data_size`), 0) FROM `bundle` GROUP BY COALESCE(`owner_id`, ''), `state`, `is_public`, `is_anonymous`;

-- A plain index ends with the id by itself, so each of the first five delivers bundles of one value by id.
CREATE INDEX `bundle_owner_id_index` ON `bundle` (`owner_id`);
CREATE INDEX `bundle_name_index` ON `bundle` (`name`);
CREATE INDEX `bundle_created_index` ON `bundle` (`created`);
CREATE INDEX `bundle_size_index` ON `bundle` (`data_size`);
CREATE INDEX `bundle_public_index` ON `bundle` (`is_public`);
CREATE INDEX `bundle_command_index` ON `bundle` (`command_key`, `owner_id`);
CREATE INDEX `metadata_search_index` ON `bundle_metadata` (`metadata_key`, `value_key`, `bundle_id`);
CREATE INDEX `metadata_number_index` ON `bundle_metadata` (`metadata_key`, `number`, `bundle_id`);
DROP INDEX `metadata_kv_index` ON `bundle_metadata`;
DROP INDEX `bundle_owner_index` ON `bundle`;

CREATE TRIGGER `bundle_metadata_before_insert` BEFORE INSERT ON `bundle_metadata` FOR EACH ROW
  SET NEW.`bundle_id` = (SELECT `id` FROM `bundle` WHERE `uuid` = NEW.`bundle_uuid`),
    NEW.`number` = CASE WHEN NEW.`metadata_value` REGEXP '^[-+]?[0-9]{1,30}([.][0-9]{0,40})?([eE][-+]?[0-9]{1,2})?$' THEN NEW.`metadata_value` + 0 END;

CREATE TRIGGER `bundle_metadata_before_update` BEFORE UPDATE ON `bundle_metadata` FOR EACH ROW
  SET NEW.`number` = CASE WHEN NEW.`metadata_value` REGEXP '^[-+]?[0-9]{1,30}([.][0-9]{0,40})?([eE][-+]?[0-9]{1,2})?$' THEN NEW.`metadata_value` + 0 END;

CREATE TRIGGER `bundle_metadata_after_insert` AFTER INSERT ON `bundle_metadata` FOR EACH ROW
BEGIN
  CASE NEW.`metadata_key`
    WHEN 'name' THEN UPDATE `bundle` SET `name` = LEFT(NEW.`metadata_value`, 255) WHERE `uuid` = NEW.`bundle_uuid`;
    WHEN 'created' THEN UPDATE `bundle` SET `created` = NEW.`number` WHERE `uuid` = NEW.`bundle_uuid`;
    WHEN 'data_size' THEN UPDATE `bundle` SET `data_size` = NEW.`number` WHERE `uuid` = NEW.`bundle_uuid`;
    ELSE BEGIN END;
  END CASE;
END;

CREATE TRIGGER `bundle_metadata_after_update` AFTER UPDATE ON `bundle_metadata` FOR EACH ROW
BEGIN
  CASE NEW.`metadata_key`
    WHEN 'name' THEN UPDATE `bundle` SET `name` = LEFT(NEW.`metadata_value`, 255) WHERE `uuid` = NEW.`bundle_uuid`;
    WHEN 'created' THEN UPDATE `bundle` SET `created` = NEW.`number` WHERE `uuid` = NEW.`bundle_uuid`;
    WHEN 'data_size' THEN UPDATE `bundle` SET `data_size` = NEW.`number` WHERE `uuid` = NEW.`bundle_uuid`;
    ELSE BEGIN END;
  END CASE;
END;

CREATE TRIGGER `bundle_metadata_after_delete` AFTER DELETE ON `bundle_metadata` FOR EACH ROW
BEGIN
  CASE OLD.`metadata_key`
    WHEN 'name' THEN UPDATE `bundle` SET `name` = NULL WHERE `uuid` = OLD.`bundle_uuid`;
    WHEN 'created' THEN UPDATE `bundle` SET `created` = NULL WHERE `uuid` = OLD.`bundle_uuid`;
    WHEN 'data_size' THEN UPDATE `bundle` SET `data_size` = NULL WHERE `uuid` = OLD.`bundle_uuid`;
    ELSE BEGIN END;
  END CASE;
END;

CREATE TRIGGER `bundle_after_insert` AFTER INSERT ON `bundle` FOR EACH ROW
BEGIN
  INSERT IGNORE INTO `bundle_floating` (`bundle_id`) VALUES (NEW.`id`);
  INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
    VALUES (COALESCE(NEW.`owner_id`, ''), NEW.`state`, NEW.`is_public`, NEW.`is_anonymous`, 1,
      NEW.`data_size` IS NOT NULL, COALESCE(NEW.`data_size`, 0));
  INSERT IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
    SELECT CONCAT('#', SUBSTRING(NEW.`uuid`, 3 + 3 * `position`, 3)), NEW.`id` FROM `search_position` WHERE `position` < 10;
  INSERT IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
    SELECT LOWER(SUBSTRING(NEW.`name`, `position` + 1, 3)), NEW.`id` FROM `search_position`
    WHERE `position` <= CHAR_LENGTH(NEW.`name`) - 3;
END;

CREATE TRIGGER `bundle_after_update` AFTER UPDATE ON `bundle` FOR EACH ROW
BEGIN
  IF NOT (NEW.`name` <=> OLD.`name`) THEN
    DELETE `g` FROM `search_position` `p` STRAIGHT_JOIN `bundle_gram` `g`
      ON `g`.`gram` = LOWER(SUBSTRING(OLD.`name`, `p`.`position` + 1, 3)) AND `g`.`bundle_id` = OLD.`id`
      WHERE `p`.`position` <= CHAR_LENGTH(OLD.`name`) - 3;
    INSERT IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
      SELECT LOWER(SUBSTRING(NEW.`name`, `position` + 1, 3)), NEW.`id` FROM `search_position`
      WHERE `position` <= CHAR_LENGTH(NEW.`name`) - 3;
  END IF;
  IF NOT (NEW.`owner_id` <=> OLD.`owner_id` AND NEW.`state` = OLD.`state` AND NEW.`is_public` = OLD.`is_public`
      AND NEW.`is_anonymous` = OLD.`is_anonymous` AND NEW.`data_size` <=> OLD.`data_size`) THEN
    INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
      VALUES (COALESCE(OLD.`owner_id`, ''), OLD.`state`, OLD.`is_public`, OLD.`is_anonymous`, -1,
        -(OLD.`data_size` IS NOT NULL), -COALESCE(OLD.`data_size`, 0)),
      (COALESCE(NEW.`owner_id`, ''), NEW.`state`, NEW.`is_public`, NEW.`is_anonymous`, 1,
        NEW.`data_size` IS NOT NULL, COALESCE(NEW.`data_size`, 0));
  END IF;
END;

CREATE TRIGGER `bundle_after_delete` AFTER DELETE ON `bundle` FOR EACH ROW
BEGIN
  DELETE FROM `bundle_floating` WHERE `bundle_id` = OLD.`id`;
  INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
    VALUES (COALESCE(OLD.`owner_id`, ''), OLD.`state`, OLD.`is_public`, OLD.`is_anonymous`, -1,
      -(OLD.`data_size` IS NOT NULL), -COALESCE(OLD.`data_size`, 0));
  DELETE `g` FROM `search_position` `p` STRAIGHT_JOIN `bundle_gram` `g`
    ON `g`.`gram` = CONCAT('#', SUBSTRING(OLD.`uuid`, 3 + 3 * `p`.`position`, 3)) AND `g`.`bundle_id` = OLD.`id`
    WHERE `p`.`position` < 10;
  DELETE `g` FROM `search_position` `p` STRAIGHT_JOIN `bundle_gram` `g`
    ON `g`.`gram` = LOWER(SUBSTRING(OLD.`name`, `p`.`position` + 1, 3)) AND `g`.`bundle_id` = OLD.`id`
    WHERE `p`.`position` <= CHAR_LENGTH(OLD.`name`) - 3;
END;

CREATE TRIGGER `worksheet_item_after_insert` AFTER INSERT ON `worksheet_item` FOR EACH ROW
  DELETE FROM `bundle_floating` WHERE `bundle_id` = (SELECT `id` FROM `bundle` WHERE `uuid` = NEW.`bundle_uuid`);

-- Not only when it was the last worksheet: another transaction may be taking the bundle from that one now.
CREATE TRIGGER `worksheet_item_after_delete` AFTER DELETE ON `worksheet_item` FOR EACH ROW
  INSERT IGNORE INTO `bundle_floating` (`bundle_id`) SELECT `b`.`id` FROM `bundle` `b`
    WHERE `b`.`uuid` = OLD.`bundle_uuid` AND NOT EXISTS (SELECT 1 FROM `worksheet_item` `i`
      WHERE `i`.`bundle_uuid` = OLD.`bundle_uuid` AND `i`.`worksheet_uuid` = OLD.`worksheet_uuid`);

CREATE TRIGGER `group_bundle_permission_after_insert` AFTER INSERT ON `group_bundle_permission` FOR EACH ROW
BEGIN
  IF EXISTS (SELECT 1 FROM `group` WHERE `uuid` = NEW.`group_uuid` AND `name` = 'public' AND `user_defined` = 0) THEN
    UPDATE `bundle` SET `is_public` = NEW.`permission` >= 1 WHERE `uuid` = NEW.`object_uuid`;
  END IF;
END;

CREATE TRIGGER `group_bundle_permission_after_update` AFTER UPDATE ON `group_bundle_permission` FOR EACH ROW
BEGIN
  IF EXISTS (SELECT 1 FROM `group` WHERE `uuid` = NEW.`group_uuid` AND `name` = 'public' AND `user_defined` = 0) THEN
    UPDATE `bundle` SET `is_public` = NEW.`permission` >= 1 WHERE `uuid` = NEW.`object_uuid`;
  END IF;
END;

CREATE TRIGGER `group_bundle_permission_after_delete` AFTER DELETE ON `group_bundle_permission` FOR EACH ROW
BEGIN
  IF EXISTS (SELECT 1 FROM `group` WHERE `uuid` = OLD.`group_uuid` AND `name` = 'public' AND `user_defined` = 0) THEN
    UPDATE `bundle` SET `is_public` = 0 WHERE `uuid` = OLD.`object_uuid`;
  END IF;
END;
